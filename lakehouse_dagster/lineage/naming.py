"""Names of datasets by OpenLineage's conventions, in one place.

=============  ==============================  ==================================
what           namespace                       name
=============  ==============================  ==================================
source table   ``mysql://HOST:PORT``           ``database.table``
topic          ``kafka://HOST:PORT``           the topic
lake table     ``s3://BUCKET``                 ``paimon/PIPELINE.db/TABLE``
published      ``trino://HOST:PORT``           ``lake.PIPELINE.TABLE``
mart           ``trino://HOST:PORT``           ``lake.PIPELINE_marts.MART``
Cassandra      ``cassandra://HOST:PORT``       ``keyspace.table``
CouchDB        ``couchdb://HOST:PORT``         the database (no convention exists)
=============  ==============================  ==================================

A lake table is what the lake stream writes; the published table is what readers see of it on Nessie's branch.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from lakehouse_dagster.contract.contract import Contract
from lakehouse_dagster.engines.endpoints import Endpoints
from lakehouse_dagster.lineage.columns import Dataset, Layer
from lakehouse_dagster.lineage.model import Catalog, DatasetName


def dataset_name(contract: Contract, endpoints: Endpoints, dataset: Dataset) -> DatasetName:
    """The name of a dataset of a pipeline."""
    name = dataset.name
    match dataset.layer:
        case Layer.SOURCE:
            mysql = endpoints.mysql
            return DatasetName(f"mysql://{mysql.host}:{mysql.port}", f"{contract.database}.{name}")
        case Layer.TOPICS:
            # Of several brokers the first stands for the cluster.
            first = endpoints.kafka.bootstrap.split(",")[0].strip()
            return DatasetName(f"kafka://{first}", contract.topic(name))
        case Layer.LAKE:
            warehouse = urlsplit(endpoints.paimon.warehouse)
            path = contract.lake_path(name)
            folder = f"{warehouse.path.strip('/')}/{path.database}.db/{path.table}".lstrip("/")
            return DatasetName(f"{warehouse.scheme}://{warehouse.netloc}", folder)
        case Layer.VIEWS if contract.view(name).engine == "cassandra":
            cassandra = endpoints.cassandra
            return DatasetName(
                f"cassandra://{cassandra.host}:{cassandra.port}", f"{contract.keyspace}.{name}"
            )
        case Layer.VIEWS:
            return DatasetName(f"couchdb://{urlsplit(endpoints.couchdb.url).netloc}", name)
        case Layer.MARTS:
            return _trino(endpoints, contract.marts_schema, name)


def published_name(contract: Contract, endpoints: Endpoints, table: str) -> DatasetName:
    """The name of a lake table as readers see it; ``table`` may be the quarantine's too."""
    return _trino(endpoints, contract.name, table)


def nessie_name(endpoints: Endpoints, schema: str, table: str) -> DatasetName:
    """The name of a published table or mart in the catalog, whoever reads it."""
    return DatasetName(f"nessie://{urlsplit(endpoints.nessie.url).netloc}", f"{schema}.{table}")


def catalog(endpoints: Endpoints) -> Catalog:
    """The catalog of what is published."""
    return Catalog(
        framework="iceberg",
        type="rest",
        name=endpoints.trino.catalog,
        uri=f"{endpoints.nessie.url.rstrip('/')}/iceberg",
        warehouse=f"s3://{endpoints.s3.bucket}",
    )


def _trino(endpoints: Endpoints, schema: str, table: str) -> DatasetName:
    trino = endpoints.trino
    return DatasetName(f"trino://{trino.host}:{trino.port}", f"{trino.catalog}.{schema}.{table}")
