//! W9e: JSON in lines; a number is read, and a field added.
#[path = "dataflare.rs"]
mod dataflare;
use dataflare::{Error, Info, Json, Out, Output, Plugin, Verdict};

struct Lines;

impl Plugin for Lines {
    const INFO: Info = Info {
        name: "lines",
        version: "1.0.0",
        outputs: &[Output { name: "", columns: Some(&[("total", "float64")]), adds: true }],
        ..Info::NEW
    };
    fn open(_: Json) -> Result<Self, Error> {
        Ok(Lines)
    }
    fn process(&mut self, record: Json, out: &mut Out) -> Result<Verdict, Error> {
        let amount = record.number("amount").ok_or("there is no amount")?;
        if amount < 5.0 {
            return Ok(Verdict::Drop);
        }
        out.extend(record);
        out.field("total", amount * 1.2);
        out.end();
        Ok(Verdict::Keep)
    }
}

dataflare::export!(Lines);
