// The plugin of the golden suite in Rust: see suite.py.
#[path = "dataflare.rs"]
mod dataflare;
use dataflare::{get_state, log, metric, now, set_state, Error, Info, Json, Level, Out, Output, Plugin, Verdict};

struct Golden {
    rate: f64,
    seen: i64,
}

impl Plugin for Golden {
    const INFO: Info = Info {
        name: "golden",
        version: "1.2.3",
        settings_schema: r#"{"type":"object"}"#,
        input: Some(&["id", "kind", "amount", "text", "inside"]),
        outputs: &[
            Output { name: "", columns: None, adds: false },
            Output { name: "big", columns: Some(&[("id", "int64"), ("part", "int64")]), adds: false },
            Output { name: "added", columns: Some(&[("total", "float64")]), adds: true },
        ],
        stateful: true,
        ..Info::NEW
    };

    fn open(settings: Json) -> Result<Self, Error> {
        let rate = match settings.get("rate") {
            Some(rate) => rate.as_number().ok_or("rate is no number")?,
            None => 1.0,
        };
        Ok(Golden { rate, seen: 0 })
    }

    fn process(&mut self, record: Json, out: &mut Out) -> Result<Verdict, Error> {
        self.seen += 1;
        let id = record.get("id");
        let text = record.text("text").unwrap_or_default();
        let kind = record.text("kind").ok_or("there is no kind")?;
        match &*kind {
            "copy" => out.copy(record),
            "with" => out.copy_with(record, "amount", record.number("amount").unwrap_or(0.0) * self.rate),
            "keep" => {
                let amount = record.number("amount").ok_or("there is no amount")?;
                out.extend(record);
                out.field("total", amount * self.rate);
                out.end();
            }
            "drop" => {
                out.raw("{}");
                out.emit("big");
                out.raw("{}");
                return Ok(Verdict::Drop);
            }
            "bad" => {
                out.raw("{}");
                out.emit("");
                return Err(Error::Bad(format!("it is bad: {text}")));
            }
            "transient" => return Err(Error::Transient(format!("not now: {text}"))),
            "fatal" => return Err(Error::Fatal(format!("never: {text}"))),
            "many" | "routes" => {
                for (part, output) in [(0i64, "big"), (1, ""), (2, "added")] {
                    out.object();
                    out.field("id", id);
                    out.field("part", part);
                    out.end();
                    out.emit(if kind == "many" { "" } else { output });
                }
            }
            "text" => {
                out.object();
                out.field("text", &*text);
                out.end();
            }
            "inside" => {
                let inside = record.get("inside").ok_or("there is nothing inside")?;
                out.object();
                out.field("found", inside.get("amount"));
                out.end();
            }
            "number" => {
                let amount = record.get("amount").ok_or("there is no amount")?;
                out.object();
                out.field("raw", amount);
                out.field("whole", amount.as_integer());
                out.field("number", amount.as_number());
                out.end();
            }
            "state" => {
                let key = format!("[{}]", id.ok_or("there is no id")?.0);
                out.object();
                out.field("before", get_state(&key).as_deref().map(Json));
                out.end();
                set_state(&key, record.get("amount").filter(|amount| !amount.is_null()).map(|amount| amount.0));
            }
            "told" => {
                log(Level::Warn, &text);
                metric("told", 2.5);
                out.object();
                out.field("now", now());
                out.end();
            }
            "loop" => loop {
                std::hint::black_box(self.seen);
            },
            "grow" => {
                let mut all = Vec::new();
                loop {
                    all.push(std::hint::black_box(vec![1u8; 1 << 20]));
                }
            }
            "deep" => out.value(deep(1)),
            "panic" => panic!("it panics: {text}"),
            // Undefined behaviour, as careless authors have it.
            "bytes" => out.raw(unsafe { std::str::from_utf8_unchecked(std::hint::black_box(b"{\"a\":\"\xff\"}")) }),
            other => return Err(Error::Bad(format!("what is {other}"))),
        }
        Ok(Verdict::Keep)
    }

    fn export_state(&self) -> String {
        self.seen.to_string()
    }

    fn import_state(&mut self, state: Json) -> Result<(), Error> {
        self.seen = state.as_integer().ok_or("the state is no number")?;
        Ok(())
    }
}

#[allow(unconditional_recursion)]
fn deep(level: u64) -> u64 {
    deep(std::hint::black_box(level) + 1) + level
}

dataflare::export!(Golden);
