"""What the deployment's files promise, read rather than run: no Docker engine is needed."""

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any, Final, get_args

import pytest
import yaml
from annotated_types import Ge, Gt, Le
from pydantic.fields import FieldInfo

from orders.names import SEARCH_ATTRIBUTES
from settings import ROOT, Settings

COMPOSE_TEXT: Final = (ROOT / "docker-compose.yml").read_text("utf-8")
SERVICES: Final[dict[str, dict[str, Any]]] = yaml.safe_load(COMPOSE_TEXT)["services"]
OURS: Final = {name for name, service in SERVICES.items() if "build" in service}
WORKERS: Final = {"worker-orders", "worker-promotion"}
ONE_SHOTS: Final = {"temporal-schema", "temporal-bootstrap", "migrate", "schedule"}
PASSWORDS: Final = {"POSTGRES_PASSWORD", "DATABASE_PASSWORD", "TEMPORAL_DATABASE_PASSWORD"}
# What `orders dev` starts, Compose has services for.
DEVELOPMENT_ONLY: Final = {
    f"ORDERS_{name}" for name in ("DATA_DIR", "POSTGRES_PORT", "TEMPORAL_PORT", "TEMPORAL_UI_PORT")
}

DOCKERFILE: Final = (ROOT / "Dockerfile").read_text("utf-8")
FINAL_STAGE: Final = DOCKERFILE.rpartition("\nFROM ")[2]


def _variable(name: str, field: FieldInfo) -> str:
    return field.validation_alias if isinstance(field.validation_alias, str) else f"ORDERS_{name.upper()}"


FIELDS: Final = {_variable(name, field): (name, field) for name, field in Settings.model_fields.items()}


def _documented() -> dict[str, tuple[str, str]]:
    """Each variable of .env.example: the default stated, and the explanation that stands above it."""
    documented = {}
    explanation: list[str] = []
    explained = False
    for line in (ROOT / ".env.example").read_text("utf-8").splitlines():
        if stated := re.fullmatch(r"# ([A-Z][A-Z_]+)=(.*)", line):
            documented[stated[1]] = (stated[2], " ".join(explanation))
            explained = True
            continue
        if explained or not line:
            explanation, explained = [], False
        explanation.append(line.removeprefix("#").strip())
    return documented


DOCUMENTED: Final = _documented()


def _seconds(duration: str) -> float:
    number, unit = duration[:-1], duration[-1]
    return float(number) * {"s": 1, "m": 60}[unit]


def _interpolated() -> dict[str, str]:
    """Each variable that docker-compose.yml asks the environment for, with its default there."""
    found = re.findall(r"\$\{([A-Z_]+)(?::-([^}]*)|:\?[^}]*)?\}", COMPOSE_TEXT)
    return dict(found)


def _environment(names: set[str]) -> dict[str, str | None]:
    return {key: value for name in names for key, value in SERVICES[name]["environment"].items()}


def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in FIELDS:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.chdir(ROOT)


# Compose


@pytest.mark.parametrize("name", sorted(set(SERVICES) - OURS))
def test_an_image_that_is_pulled_is_pinned_to_one_version(name: str) -> None:
    assert re.fullmatch(r"[\w/-]+:\d+\.\d+(\.\d+)?(-\w+)?", SERVICES[name]["image"])


def test_every_process_of_ours_runs_the_same_image() -> None:
    assert WORKERS | {"api", "migrate", "schedule"} == OURS
    assert {SERVICES[name]["image"] for name in OURS} == {"order-processing-system:${IMAGE_TAG:-dev}"}


def test_temporals_tools_are_of_the_servers_version() -> None:
    version = SERVICES["temporal"]["image"].partition(":")[2]
    for job in ("temporal-schema", "temporal-bootstrap"):
        assert SERVICES[job]["image"] == f"temporalio/admin-tools:{version}"


def test_every_published_port_is_on_the_loopback_address() -> None:
    ports = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert set(ports) == {"api", "temporal-ui"}
    assert all(port.startswith("127.0.0.1:") for published in ports.values() for port in published)


@pytest.mark.parametrize("name", sorted(WORKERS))
def test_any_number_of_a_worker_can_run(name: str) -> None:
    assert not {"container_name", "hostname", "ports"} & set(SERVICES[name])
    assert SERVICES[name]["restart"] == "unless-stopped"


def test_each_worker_serves_its_own_queue() -> None:
    for name in WORKERS:
        assert SERVICES[name]["command"] == [
            "python",
            "-m",
            "worker",
            "--serve",
            name.removeprefix("worker-"),
        ]


def test_every_dependency_is_awaited_in_the_way_that_fits_it() -> None:
    awaited = set()
    for service in SERVICES.values():
        for dependency, how in service.get("depends_on", {}).items():
            if dependency in ONE_SHOTS:
                assert how == {"condition": "service_completed_successfully"}
            else:
                assert how == {"condition": "service_healthy"}
                assert "healthcheck" in SERVICES[dependency]
            awaited.add(dependency)
    # `up --wait` takes a job that nobody awaits for a service that died.
    assert awaited >= ONE_SHOTS


@pytest.mark.parametrize("name", sorted(WORKERS | {"api"}))
def test_nothing_works_before_the_schema_and_the_search_attributes_are_there(name: str) -> None:
    assert {"migrate", "temporal-bootstrap"} <= set(SERVICES[name]["depends_on"])


def test_one_shots_are_tried_again_and_services_are_kept_up() -> None:
    for name, service in SERVICES.items():
        assert service["restart"] == ("on-failure:5" if name in ONE_SHOTS else "unless-stopped"), name


def test_a_process_may_finish_what_it_holds_before_it_is_killed() -> None:
    longest = max(
        Settings.model_fields[name].default for name in ("worker_shutdown_grace", "answer_deadline")
    )
    for name in OURS:
        assert _seconds(SERVICES[name]["stop_grace_period"]) > longest


def test_no_log_grows_for_ever() -> None:
    assert all(
        service["logging"]["options"].keys() == {"max-size", "max-file"} for service in SERVICES.values()
    )


def test_a_process_of_ours_can_write_nothing_and_gain_no_rights() -> None:
    for name in OURS:
        service = SERVICES[name]
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]


def test_passwords_come_from_the_environment_and_have_no_default() -> None:
    assert set(re.findall(r"\$\{([A-Z_]*PASSWORD):\?", COMPOSE_TEXT)) == PASSWORDS
    assert not re.search(r"\$\{[A-Z_]*PASSWORD(:?-|\})", COMPOSE_TEXT)
    literal = [
        value for value in _environment(set(SERVICES)).items() if "PASSW" in value[0] or "PWD" in value[0]
    ]
    assert literal
    assert all(value is not None and value.startswith("${") for _, value in literal)


def test_only_settings_that_exist_are_set() -> None:
    set_here = {name for name in _environment(set(SERVICES)) if name.startswith("ORDERS_")}
    assert set_here <= set(FIELDS)


def test_every_setting_can_reach_the_containers() -> None:
    assert set(FIELDS) - DEVELOPMENT_ONLY == set(_environment(OURS)) & set(FIELDS)


def test_the_containers_log_json_and_the_api_listens_beyond_its_own_loopback() -> None:
    assert all(SERVICES[name]["environment"]["ORDERS_LOG_FORMAT"] == "json" for name in OURS)
    assert SERVICES["api"]["environment"]["ORDERS_API_HOST"] == "0.0.0.0"  # noqa: S104 - in its container


def test_what_is_mounted_is_there() -> None:
    mounted = [volume for service in SERVICES.values() for volume in service.get("volumes", ())]
    sources = [volume.partition(":")[0] for volume in mounted if volume.startswith("./")]
    assert sources
    assert all((ROOT / source).exists() for source in sources)


def test_the_namespace_gets_the_search_attributes_that_orders_set() -> None:
    script = (ROOT / "deploy/temporal/bootstrap.sh").read_text("utf-8")
    assert dict(re.findall(r"--name (\w+) --type (\w+)", script)) == dict(SEARCH_ATTRIBUTES)


def test_docker_compose_accepts_the_file() -> None:
    # Only Docker can say whether it takes the file, and nobody needs Docker for anything else here: the other
    # tests read the file without one.
    docker = shutil.which("docker")
    if docker is None:
        pytest.skip("docker is not installed")
    if subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode != 0:  # noqa: S603 - found on PATH, fixed arguments
        pytest.skip("docker has no compose plugin")
    environment = {**os.environ, **dict.fromkeys(PASSWORDS, "secret")}
    checked = subprocess.run(  # noqa: S603 - the same
        [docker, "compose", "--file", ROOT / "docker-compose.yml", "config", "--quiet"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stderr


# Image


def test_the_base_image_is_an_argument_with_a_pinned_default() -> None:
    assert re.search(r"^ARG BASE_IMAGE=python:3\.\d+\.\d+-slim-\w+$", DOCKERFILE, re.MULTILINE)
    assert set(re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)) == {"${BASE_IMAGE}"}


def test_the_image_runs_as_a_fixed_user_who_is_not_root() -> None:
    users = re.findall(r"^USER (\d+):(\d+)$", FINAL_STAGE, re.MULTILINE)
    assert len(users) == 1
    assert "0" not in users[0]


def test_packages_are_installed_by_hash_and_never_compiled() -> None:
    assert "--require-hashes" in DOCKERFILE
    assert "--only-binary=:all:" in DOCKERFILE
    assert "apt-get" not in DOCKERFILE


def test_the_image_holds_what_the_wheel_holds() -> None:
    let_in = {
        path.name
        for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines()
        if line.startswith("!")
        for path in ROOT.glob(line.removeprefix("!"))
    }
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    wheel = set(project["tool"]["hatch"]["build"]["targets"]["wheel"]["only-include"])
    assert let_in == wheel | {"requirements.txt", "pyproject.toml"}


# .env.example


def test_every_setting_is_documented_and_none_that_does_not_exist() -> None:
    assert set(FIELDS) <= set(DOCUMENTED)
    assert {name for name in DOCUMENTED if name.startswith("ORDERS_")} <= set(FIELDS)


@pytest.mark.parametrize("variable", sorted(FIELDS))
def test_a_documented_default_is_the_codes(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name, field = FIELDS[variable]
    _own_environment(monkeypatch)
    stated, _ = DOCUMENTED[variable]
    if stated:
        monkeypatch.setenv(variable, stated)
    value = getattr(Settings(), name)
    assert field.default == (value.resolve() if isinstance(value, Path) else value)
    assert bool(stated) == (field.default is not None)


@pytest.mark.parametrize("variable", sorted(FIELDS))
def test_a_documented_range_is_the_codes(variable: str) -> None:
    _, field = FIELDS[variable]
    _, explanation = DOCUMENTED[variable]
    bounds = {type(bound): bound for bound in field.metadata}
    if Le in bounds:
        lowest = f"{bounds[Ge].ge:g}" if Ge in bounds else f"Above {bounds[Gt].gt:g},"
        assert f"{lowest} to {bounds[Le].le}" in explanation
    for choice in get_args(field.annotation):
        assert not isinstance(choice, str) or choice in explanation


def test_every_variable_of_compose_is_documented_with_its_default() -> None:
    assert _interpolated() == {name: DOCUMENTED[name][0] for name in _interpolated()}
    passed_on = {name for name, value in _environment(OURS).items() if value is None}
    assert passed_on | {"BASE_IMAGE"} <= set(DOCUMENTED)


@pytest.mark.parametrize("page", [".env.example", "docker-compose.yml", "docs/deployment.md"])
def test_no_page_names_a_setting_that_does_not_exist(page: str) -> None:
    named = set(re.findall(r"\bORDERS_[A-Z_]+\b", (ROOT / page).read_text("utf-8")))
    assert named <= set(FIELDS)
