"""``dg scaffold defs lakehouse_dagster.CdcPipeline shop``: a commented ``defs.yaml`` to start from."""

from __future__ import annotations

from string import Template
from typing import Any

import dagster as dg

TEMPLATE = Template(
    """\
# One pipeline: MySQL tables -> Kafka -> the lake (Paimon, readable in Trino) -> serving views and marts.
# After editing:  lakehouse lock $name   (reads columns and keys from the source into schema.lock.json)
#                 dg check yaml && dg check defs
type: $type_name

attributes:
  name: $name                     # prefix of topics, asset keys, lake schema and jobs; never change it later
  owner: team:$name               # team:NAME or an e-mail address
  description: What this pipeline is for.

  source:
    database: $name               # the MySQL database

  tables:                         # which tables to copy; all columns are always copied
    - name: orders
      description: One row per order.

  # Tables for applications, kept equal to a source table within seconds. Leave out what you do not need.
  # views:
  #   - name: orders_by_customer
  #     engine: cassandra         # needs a key of its own; it must contain the source's primary key
  #     table: orders
  #     partition_key: [customer_id]
  #     clustering_key: [ordered_at, id]
  #   - name: order_documents
  #     engine: couchdb           # the document id is the source's primary key
  #     table: orders

  # Tables computed from the lake are files of their own: marts/NAME.sql, one SELECT with a header. An example
  # is in marts/EXAMPLE.txt.
"""
)

MART_EXAMPLE = """\
-- To use it, rename this file to NAME.sql. Lake tables are written lake.TABLE.
-- mart:
--   description: Revenue per day.
--   refresh: "*/5 * * * *"      # at most this often (cron, UTC), and only if there was news
--   key: [day]                  # checked before each refresh is published
--   checks:
--     - not_null: [revenue]
SELECT CAST(o.ordered_at AS date) AS day, sum(o.total) AS revenue
FROM lake.orders AS o
GROUP BY CAST(o.ordered_at AS date)
"""


class CdcPipelineScaffolder(dg.Scaffolder[Any]):
    """Writes the folder of a new pipeline."""

    def scaffold(self, request: dg.ScaffoldRequest[Any]) -> None:
        """Write ``defs.yaml`` and a ``marts`` folder with an example; refuses what it cannot do right."""
        if request.scaffold_format != "yaml" or request.append:
            raise ValueError(
                "a CdcPipeline is a folder with its own defs.yaml: scaffold it as YAML, without --append"
            )
        name = request.target_path.name
        if not name.isidentifier() or name != name.lower():
            raise ValueError(
                f"{name!r} cannot name a pipeline: use lower-case letters, digits and underscores, for "
                "example 'shop'"
            )
        file = request.target_path / "defs.yaml"
        if file.exists():
            raise FileExistsError(f"{file} exists already; choose another name or edit that file")
        file.write_text(TEMPLATE.substitute(name=name, type_name=request.type_name), encoding="utf-8")
        marts = request.target_path / "marts"
        marts.mkdir(exist_ok=True)
        (marts / "EXAMPLE.txt").write_text(MART_EXAMPLE, encoding="utf-8")
