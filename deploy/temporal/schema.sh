#!/bin/sh
# Brings Temporal's two databases to the schema of this version of temporal-sql-tool.
# Both commands skip what an earlier run did, so an upgrade of Temporal is this same script
# in the newer image. Connects as the SQL_* variables say.
set -eu
schemas=/etc/temporal/schema/postgresql/v12

bring_up_to_date() {
    database=$1
    schema=$2
    temporal-sql-tool --db "$database" setup-schema -v 0.0
    temporal-sql-tool --db "$database" update-schema -d "$schemas/$schema/versioned"
}

bring_up_to_date temporal temporal
bring_up_to_date temporal_visibility visibility
