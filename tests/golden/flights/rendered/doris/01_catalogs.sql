CREATE CATALOG IF NOT EXISTS `lake_paimon` PROPERTIES (
  'type' = 'paimon',
  'paimon.catalog.type' = 'filesystem',
  'warehouse' = '${PAIMON_WAREHOUSE}',
  'meta.cache.paimon.table.ttl-second' = '0',
  'meta.cache.paimon.schema.ttl-second' = '0',
  'fs.minio.support' = 'true',
  'minio.endpoint' = '${S3_ENDPOINT}',
  'minio.access_key' = '${S3_ACCESS_KEY}',
  'minio.secret_key' = '${S3_SECRET_KEY}',
  'minio.use_path_style' = 'true'
);

ALTER CATALOG `lake_paimon` SET PROPERTIES (
  'warehouse' = '${PAIMON_WAREHOUSE}',
  'meta.cache.paimon.table.ttl-second' = '0',
  'meta.cache.paimon.schema.ttl-second' = '0',
  'fs.minio.support' = 'true',
  'minio.endpoint' = '${S3_ENDPOINT}',
  'minio.access_key' = '${S3_ACCESS_KEY}',
  'minio.secret_key' = '${S3_SECRET_KEY}',
  'minio.use_path_style' = 'true'
);

CREATE CATALOG IF NOT EXISTS `lake_nessie` PROPERTIES (
  'type' = 'iceberg',
  'iceberg.catalog.type' = 'rest',
  'iceberg.rest.uri' = '${NESSIE_URL}/iceberg/main',
  'warehouse' = '${NESSIE_WAREHOUSE}',
  'meta.cache.iceberg.table.ttl-second' = '0',
  'fs.minio.support' = 'true',
  'minio.endpoint' = '${S3_ENDPOINT}',
  'minio.access_key' = '${S3_ACCESS_KEY}',
  'minio.secret_key' = '${S3_SECRET_KEY}',
  'minio.use_path_style' = 'true'
);

ALTER CATALOG `lake_nessie` SET PROPERTIES (
  'iceberg.rest.uri' = '${NESSIE_URL}/iceberg/main',
  'warehouse' = '${NESSIE_WAREHOUSE}',
  'meta.cache.iceberg.table.ttl-second' = '0',
  'fs.minio.support' = 'true',
  'minio.endpoint' = '${S3_ENDPOINT}',
  'minio.access_key' = '${S3_ACCESS_KEY}',
  'minio.secret_key' = '${S3_SECRET_KEY}',
  'minio.use_path_style' = 'true'
);
