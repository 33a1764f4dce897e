mod dataflare;
use dataflare::{Error, Info, Json, Out, Output, Plugin, Verdict};

struct Totals {
    rate: f64,
}

impl Plugin for Totals {
    const INFO: Info = Info {
        name: "@NAME@",
        version: "0.1.0",
        // Columns that come out beside those that came in, with their types.
        outputs: &[Output { name: "", columns: Some(&[("total", "float64")]), adds: true }],
        ..Info::NEW
    };

    /// Is called once, with the settings of the workflow.
    fn open(settings: Json) -> Result<Self, Error> {
        let rate = match settings.get("rate") {
            Some(rate) => rate.as_number().ok_or("the rate is no number")?,
            None => 1.0,
        };
        Ok(Totals { rate })
    }

    /// Is called with each row. `Drop`: it is left out; an error: `on_error` decides.
    fn process(&mut self, order: Json, out: &mut Out) -> Result<Verdict, Error> {
        let amount = order.number("amount").ok_or("there is no amount")?;
        if amount < 0.0 {
            return Err("the amount is below zero".into());
        }
        if order.text("status").as_deref() == Some("cancelled") {
            return Ok(Verdict::Drop);
        }
        out.extend(order);
        out.field("total", amount * self.rate);
        out.end();
        Ok(Verdict::Keep)
    }
}

dataflare::export!(Totals);
