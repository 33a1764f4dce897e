"""The peer PySpark on W1 and W2: `orders_pyspark.py w1|w2 ORDERS FOLDER`."""

from __future__ import annotations

import sys

from pyspark.sql import SparkSession

COLUMNS = """id bigint, customer_id bigint, product string, city string, status string, qty int, price double,
    ts timestamp_ntz"""
STATEMENTS = {
    "w1": """select id, customer_id, product, upper(city) as city, status, qty, price, price * qty as total,
        price * qty > 500 as is_big, cast(round(price * 100) as bigint) as cents, ts, cast(ts as date) as day
        from orders where status <> 'cancelled' and qty >= 2""",
    "w2": """select city, status, cast(ts as date) as day, count(*) as orders, sum(qty) as qty,
        sum(price * qty) as total, avg(price) as price, count(distinct customer_id) as customers
        from orders group by city, status, cast(ts as date)""",
}
SETTINGS = {
    "spark.driver.memory": "4g",
    "spark.ui.enabled": "false",
    "spark.sql.shuffle.partitions": "4",
    "spark.sql.parquet.compression.codec": "snappy",
    "spark.sql.session.timeZone": "UTC",
}

workload, orders, output = sys.argv[1:]
session = SparkSession.builder.master("local[2]").config(map=SETTINGS).getOrCreate()
session.sparkContext.setLogLevel("ERROR")
read = session.read.schema(COLUMNS).option("timestampNTZFormat", "yyyy-MM-dd HH:mm:ss")
read.csv(orders, header=True).createOrReplaceTempView("orders")
session.sql(STATEMENTS[workload]).write.mode("overwrite").parquet(output)
session.stop()
