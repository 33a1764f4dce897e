"""The peer PySpark on W5: `enriched_pyspark.py ORDERS CUSTOMERS FOLDER`."""

from __future__ import annotations

import sys

from pyspark.sql import SparkSession

COLUMNS = """id bigint, customer_id bigint, product string, city string, status string, qty int, price double,
    ts timestamp_ntz"""
CUSTOMERS = "customer_id bigint, name string, segment string, country string, discount double"
SETTINGS = {
    "spark.driver.memory": "4g",
    "spark.ui.enabled": "false",
    "spark.sql.parquet.compression.codec": "snappy",
    "spark.sql.session.timeZone": "UTC",
}

orders, customers, output = sys.argv[1:]
session = SparkSession.builder.master("local[2]").config(map=SETTINGS).getOrCreate()
session.sparkContext.setLogLevel("ERROR")
known = session.read.schema(CUSTOMERS).csv(customers, header=True).drop("name")
read = session.read.schema(COLUMNS).option("timestampNTZFormat", "yyyy-MM-dd HH:mm:ss")
joined = read.csv(orders, header=True).join(known, "customer_id", "left")
joined.write.mode("overwrite").parquet(output)
session.stop()
