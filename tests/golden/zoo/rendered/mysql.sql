SELECT
  `id`,
  `a_tinyint`,
  `a_tinyint_unsigned`,
  `a_bool`,
  `a_smallint`,
  `a_smallint_unsigned`,
  `a_mediumint`,
  `a_mediumint_unsigned`,
  `a_int`,
  `a_int_unsigned`,
  `a_zerofill`,
  `a_bigint`,
  `a_bigint_unsigned`,
  `a_year`,
  `d_decimal`,
  `d_decimal_38`,
  `d_decimal_65`,
  CAST(`f_float` AS DOUBLE) AS `f_float`,
  `f_double`,
  CAST(`b_bit` AS UNSIGNED) AS `b_bit`,
  CAST(`b_bit_64` AS UNSIGNED) AS `b_bit_64`,
  `t_date`,
  `t_datetime`,
  `t_datetime_3`,
  `t_datetime_6`,
  `t_timestamp`,
  `t_timestamp_6`,
  `s_char`,
  `s_varchar`,
  `s_tinytext`,
  `s_text`,
  `s_mediumtext`,
  `s_longtext`,
  `s_enum`,
  `s_set`,
  `s_json`,
  `y_binary`,
  `y_varbinary`,
  `y_tinyblob`,
  `y_blob`,
  `y_mediumblob`,
  `y_longblob`,
  CAST(`t_time` AS CHAR) AS `t_time`,
  `g_geometry`,
  CONCAT('0x', HEX(`v_vector`)) AS `v_vector`
FROM `zoo-db`.`every-type`
ORDER BY `id`;

SELECT
  `from`,
  `order`,
  `group by`,
  `größe`,
  `price`,
  `left-over`
FROM `zoo-db`.`Select`
ORDER BY `from`;

SELECT
  `b`,
  `a`
FROM `zoo-db`.`plain`
ORDER BY `a`, `b`;
