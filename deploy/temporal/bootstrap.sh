#!/bin/sh
# Declares the namespace, its retention and its search attributes. It must be done before the first
# worker starts, because an order that sets an unregistered search attribute stands still until it is there.
# Any number of runs leave the same result; an attribute that exists with another type is an error.
# Reads TEMPORAL_ADDRESS and TEMPORAL_NAMESPACE, as every `temporal` command does, and TEMPORAL_RETENTION.
set -eu

# The server needs some seconds to elect itself and to notice what was declared here.
eventually() {
    attempt=1
    until "$@"; do
        if [ "$attempt" -ge 30 ]; then
            echo "gave up after $attempt attempts: $*" >&2
            exit 1
        fi
        attempt=$((attempt + 1))
        sleep 2
    done
}

declare_namespace() {
    if temporal operator namespace describe --namespace "$TEMPORAL_NAMESPACE" >/dev/null 2>&1; then
        temporal operator namespace update --namespace "$TEMPORAL_NAMESPACE" --retention "$TEMPORAL_RETENTION"
    else
        temporal operator namespace create --namespace "$TEMPORAL_NAMESPACE" --retention "$TEMPORAL_RETENTION"
    fi
}

eventually temporal operator cluster health
eventually declare_namespace
eventually temporal operator search-attribute create \
    --name OrderStatus --type Keyword \
    --name CustomerId --type Keyword
# Succeeds once the attributes can be used.
eventually temporal workflow count --query "OrderStatus = 'PENDING' AND CustomerId = 'nobody'"
