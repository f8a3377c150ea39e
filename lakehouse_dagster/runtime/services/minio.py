"""MinIO: the object store below the lake, with an identity and a policy per engine."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from lakehouse_dagster.runtime.endpoints import (
    BUCKET,
    S3_FLINK,
    S3_NESSIE,
    S3_PLATFORM,
    S3_READER,
    S3_TRINO,
)
from lakehouse_dagster.runtime.ports import HOST
from lakehouse_dagster.runtime.secrets import Secrets
from lakehouse_dagster.runtime.services.base import Instance, Program, Rendering, Service

REGION: Final = "us-east-1"

_TABLES: Final = ("paimon", "warehouse", "versions")
"""Prefixes with tables: those of the streams, Iceberg tables such as marts, and the copies that tags and
branches hold."""

ACCESS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = MappingProxyType(
    {
        # Only Flink writes the streams' tables: other writers' commits reset their Iceberg metadata.
        S3_FLINK: (("paimon", "flink", "proof"), ("paimon", "flink", "proof")),
        # Reads everything: it compares, publishes, and starts streams from their state.
        S3_PLATFORM: (("*",), ("flink", "maintenance", "proof", "versions", "warehouse")),
        # A branch's copies of lake tables can be written, as plain Iceberg tables: they stay where they are.
        S3_TRINO: (_TABLES, ("versions", "warehouse")),
        S3_NESSIE: (_TABLES, ("versions", "warehouse")),
        # Not the streams' state: it holds what the jobs have in memory.
        S3_READER: (_TABLES, ()),
    }
)
"""Which prefixes of the bucket each identity reads, and which it writes and deletes."""


def policy(reads: tuple[str, ...], writes: tuple[str, ...]) -> dict[str, Any]:
    """Return the policy (in Amazon's language) of an identity with access to these prefixes of the bucket.

    ``*`` stands for all of them. Anything else, such as administration, is refused.
    """
    bucket = f"arn:aws:s3:::{BUCKET}"

    def objects(prefixes: tuple[str, ...]) -> list[str]:
        return [f"{bucket}/*" if prefix == "*" else f"{bucket}/{prefix}/*" for prefix in prefixes]

    listing: dict[str, Any] = {"Effect": "Allow", "Action": ["s3:ListBucket"], "Resource": [bucket]}
    if "*" not in reads:
        # Clients ask for a folder with and without the slash.
        listing["Condition"] = {
            "StringLike": {"s3:prefix": [text for prefix in reads for text in (prefix, f"{prefix}/*")]}
        }
    statements = [
        {"Effect": "Allow", "Action": ["s3:GetBucketLocation"], "Resource": [bucket]},
        listing,
        # Clients ask whether the folder itself is an object, and must hear that there is none.
        {
            "Effect": "Allow",
            "Action": ["s3:GetObject"],
            "Resource": objects(reads) + [f"{bucket}/{prefix}" for prefix in reads if prefix != "*"],
        },
    ]
    if writes:
        actions = [
            "s3:PutObject",
            "s3:DeleteObject",
            "s3:AbortMultipartUpload",
            "s3:ListMultipartUploadParts",
        ]
        statements.append({"Effect": "Allow", "Action": actions, "Resource": objects(writes)})
    return {"Version": "2012-10-17", "Statement": statements}


class Minio(Service):
    """An S3 server on the local disk."""

    name = "minio"
    title = "MinIO"
    ports = ("minio",)
    engines = ("minio",)

    def program(self, rendering: Rendering) -> Program:
        """Run the server on one folder; the root's keys come by environment."""
        instance = rendering.instance
        folder = instance.data("minio")
        return Program(
            (
                str(instance.engine("minio") / "bin" / "minio"),
                "server",
                "--quiet",
                "--anonymous",  # keeps addresses and keys out of the log
                "--address",
                f"{instance.settings.host}:{instance.settings.port('minio')}",
                str(folder),
            ),
            directory=folder,
            environment={
                "MINIO_ROOT_USER": instance.secrets.s3_access_key.get_secret_value(),
                "MINIO_ROOT_PASSWORD": instance.secrets.s3_secret_key.get_secret_value(),
                "MINIO_UPDATE": "off",
                "MINIO_BROWSER": "off",
                "MINIO_SCANNER_SPEED": "slow",
            },
        )

    def probe(self, instance: Instance, since: float) -> str:
        """List the buckets as root."""
        del since
        buckets = _client(instance).list_buckets().get("Buckets", [])
        return f"{len(buckets)} bucket{'' if len(buckets) == 1 else 's'}"

    def initialise(self, instance: Instance) -> None:
        """Create the lake's bucket, and the identities with their policies."""
        client = _client(instance)
        try:
            client.create_bucket(Bucket=BUCKET)
        except ClientError as error:
            if error.response["Error"]["Code"] not in ("BucketAlreadyOwnedByYou", "BucketAlreadyExists"):
                raise
        self._admit(instance)

    def _admit(self, instance: Instance) -> None:
        # Imported late: only whoever starts the server needs it.
        from minio.credentials.providers import StaticProvider
        from minio.minioadmin import MinioAdmin

        secrets = instance.secrets
        admin = MinioAdmin(
            endpoint=f"{HOST}:{instance.settings.port('minio')}",
            credentials=StaticProvider(
                secrets.s3_access_key.get_secret_value(), secrets.s3_secret_key.get_secret_value()
            ),
            region=REGION,
            secure=False,
        )
        for name, password in passwords(secrets).items():
            # Each of these replaces what is there. A user without a policy may do nothing.
            admin.user_add(name, password)
            admin.policy_add(name, policy=policy(*ACCESS[name]))
            admin.policy_set(name, user=name)


def passwords(secrets: Secrets) -> dict[str, str]:
    """Return the secret key of each identity in ``ACCESS``."""
    found = {
        S3_FLINK: secrets.s3_flink,
        S3_PLATFORM: secrets.s3_platform,
        S3_TRINO: secrets.s3_trino,
        S3_NESSIE: secrets.s3_nessie,
        S3_READER: secrets.s3_reader,
    }
    return {name: password.get_secret_value() for name, password in found.items()}


def _client(instance: Instance) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=instance.endpoints.s3.endpoint,
        aws_access_key_id=instance.secrets.s3_access_key.get_secret_value(),
        aws_secret_access_key=instance.secrets.s3_secret_key.get_secret_value(),
        region_name=REGION,
        config=Config(
            connect_timeout=3,
            read_timeout=10,
            retries={"max_attempts": 1},
            s3={"addressing_style": "path"},
            proxies={},
        ),
    )
