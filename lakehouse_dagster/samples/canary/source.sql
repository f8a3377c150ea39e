-- One column of every type and spelling; keys of every kind. Run in a database of its own.
CREATE TABLE every_type (
  a_tinyint TINYINT,
  id INT NOT NULL,
  a_tinyint_unsigned TINYINT UNSIGNED,
  a_boolean BOOLEAN,
  a_smallint SMALLINT,
  a_smallint_unsigned SMALLINT UNSIGNED,
  a_mediumint MEDIUMINT,
  a_mediumint_unsigned MEDIUMINT UNSIGNED,
  a_int INT,
  a_int_unsigned INT UNSIGNED,
  a_int_zerofill INT(8) UNSIGNED ZEROFILL,
  a_bigint BIGINT,
  a_bigint_unsigned BIGINT UNSIGNED,
  a_year YEAR,
  d_decimal DECIMAL(10, 2),
  d_decimal_unsigned DECIMAL(20, 10) UNSIGNED,
  d_decimal_38 DECIMAL(38, 20),
  d_decimal_65 DECIMAL(65, 30),
  f_float FLOAT,
  f_float_7_4 FLOAT(7, 4),
  f_double DOUBLE,
  b_bit BIT(1),
  b_bit_10 BIT(10),
  b_bit_64 BIT(64),
  t_date DATE,
  t_datetime DATETIME,
  t_datetime_1 DATETIME(1),
  t_datetime_3 DATETIME(3),
  t_datetime_4 DATETIME(4),
  t_datetime_6 DATETIME(6),
  t_timestamp TIMESTAMP NULL,
  t_timestamp_3 TIMESTAMP(3) NULL,
  t_timestamp_6 TIMESTAMP(6) NULL,
  z_date DATE,
  z_datetime DATETIME,
  z_datetime_3 DATETIME(3),
  z_timestamp TIMESTAMP NULL,
  z_timestamp_6 TIMESTAMP(6) NULL,
  t_time TIME,
  t_time_3 TIME(3),
  t_time_6 TIME(6),
  s_char CHAR(10),
  s_varchar VARCHAR(255),
  s_latin1 VARCHAR(40) CHARACTER SET latin1,
  s_koi8r VARCHAR(40) CHARACTER SET koi8r,
  s_utf16 VARCHAR(40) CHARACTER SET utf16,
  s_tinytext TINYTEXT,
  s_text TEXT,
  s_mediumtext MEDIUMTEXT,
  s_longtext LONGTEXT,
  s_enum ENUM('', 'a', 'it''s', 'ö', 'p,q', 'back\\slash'),
  s_set SET('x', 'y', 'z''s'),
  s_json JSON,
  y_binary BINARY(4),
  y_varbinary VARBINARY(300),
  y_tinyblob TINYBLOB,
  y_blob BLOB,
  y_mediumblob MEDIUMBLOB,
  y_longblob LONGBLOB,
  g_point POINT,
  g_geometry GEOMETRY,
  v_vector VECTOR(3),
  c_stored INT GENERATED ALWAYS AS (a_int DIV 2) STORED,
  c_virtual VARCHAR(20) GENERATED ALWAYS AS (CONCAT('#', id)) VIRTUAL,
  c_invisible INT INVISIBLE,
  c_default DATETIME(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
  PRIMARY KEY (id)
) CHARACTER SET utf8mb4;

CREATE TABLE keys_of_two (
  note VARCHAR(40),
  second VARBINARY(8) NOT NULL,
  first BIGINT UNSIGNED NOT NULL,
  PRIMARY KEY (first, second)
) CHARACTER SET utf8mb4;

CREATE TABLE keys_of_text (
  name VARCHAR(40) NOT NULL,
  note VARCHAR(40),
  PRIMARY KEY (name)
) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin;

CREATE TABLE keys_folded (
  name VARCHAR(40) NOT NULL,
  note VARCHAR(40),
  PRIMARY KEY (name)
) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci;

CREATE TABLE keys_of_time (
  at TIME(6) NOT NULL,
  note VARCHAR(40),
  PRIMARY KEY (at)
) CHARACTER SET utf8mb4;
