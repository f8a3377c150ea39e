"""MinIO: the object store below the lake."""

from __future__ import annotations

from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from lakehouse_dagster.runtime.endpoints import BUCKET
from lakehouse_dagster.runtime.services.base import Instance, Program, Rendering, Service


class Minio(Service):
    """An S3 server on the local disk."""

    name = "minio"
    title = "MinIO"
    ports = ("minio",)
    engines = ("minio",)

    def program(self, rendering: Rendering) -> Program:
        """Run the server on one folder; keys come by environment."""
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
        """List the buckets with the real keys."""
        del since
        buckets = _client(instance).list_buckets().get("Buckets", [])
        return f"{len(buckets)} bucket{'' if len(buckets) == 1 else 's'}"

    def initialise(self, instance: Instance) -> None:
        """Create the lake's bucket."""
        client = _client(instance)
        try:
            client.create_bucket(Bucket=BUCKET)
        except ClientError as error:
            if error.response["Error"]["Code"] not in ("BucketAlreadyOwnedByYou", "BucketAlreadyExists"):
                raise


def _client(instance: Instance) -> Any:
    endpoint = instance.endpoints.s3
    return boto3.client(
        "s3",
        endpoint_url=endpoint.endpoint,
        aws_access_key_id=endpoint.access_key,
        aws_secret_access_key=endpoint.secret_key.get_secret_value(),
        region_name="us-east-1",
        config=Config(
            connect_timeout=3,
            read_timeout=10,
            retries={"max_attempts": 1},
            s3={"addressing_style": "path"},
            proxies={},
        ),
    )
