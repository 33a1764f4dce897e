package main

import (
	"errors"

	df "plugin/dataflare"
)

type totals struct{ rate float64 }

func (*totals) Info() df.Info {
	return df.Info{
		Name: "@NAME@", Version: "0.1.0",
		// Columns that come out beside those that came in, with their types.
		Outputs: []df.Output{{Columns: []df.Column{{Name: "total", Kind: "float64"}}, Adds: true}},
	}
}

// Open is called once, with the settings of the workflow.
func (t *totals) Open(settings df.JSON) error {
	t.rate = 1
	rate, there := settings.Get("rate")
	if !there {
		return nil
	}
	number, is := rate.AsNumber()
	if !is {
		return errors.New("the rate is no number")
	}
	t.rate = number
	return nil
}

// Process is called with each row. Drop: it is left out; an error: `on_error` decides.
func (t *totals) Process(order df.JSON, out *df.Out) (df.Verdict, error) {
	amount, is := order.Number("amount")
	if !is {
		return df.Drop, errors.New("there is no amount")
	}
	if amount < 0 {
		return df.Drop, errors.New("the amount is below zero")
	}
	if status, _ := order.Text("status"); status == "cancelled" {
		return df.Drop, nil
	}
	out.Extend(order)
	out.Field("total", amount*t.rate)
	out.End()
	return df.Keep, nil
}

func init() { df.Export(&totals{}) }

func main() {}
