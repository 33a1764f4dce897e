"""The peer PySpark on W3 and W6: `lines_pyspark.py w3|w6 LINES FOLDER`."""

from __future__ import annotations

import sys

from pyspark.sql import SparkSession

COLUMNS = {
    "w3": """id bigint, ts bigint, type string, user struct<id: bigint, email: string,
        address: struct<country: string>>, items array<struct<sku: string>>, amount double""",
    "w6": "auction bigint, bidder bigint, price bigint, ts bigint",
}
STATEMENTS = {
    "w3": """select id, ts, type, user.id as user_id,
        concat(substr(user.email, 1, 1), '***', regexp_extract(user.email, '(@.*)', 1)) as email,
        user.address.country as country, items[0].sku as sku, amount
        from lines where type in ('purchase', 'signup')""",
    "w6": "select auction, bidder, price * 0.9D as eur, ts from lines where price >= 100",
}
SETTINGS = {"spark.driver.memory": "4g", "spark.ui.enabled": "false", "spark.sql.session.timeZone": "UTC"}

workload, lines, output = sys.argv[1:]
session = SparkSession.builder.master("local[2]").config(map=SETTINGS).getOrCreate()
session.sparkContext.setLogLevel("ERROR")
session.read.schema(COLUMNS[workload]).json(lines).createOrReplaceTempView("lines")
session.sql(STATEMENTS[workload]).write.mode("overwrite").json(output)
session.stop()
