// The plugin of the golden suite in Go: see suite.py.
package main

import (
	"errors"

	df "plugin/dataflare"
)

type golden struct {
	rate float64
	seen int64
}

func (*golden) Info() df.Info {
	return df.Info{
		Name: "golden", Version: "1.2.3", SettingsSchema: `{"type":"object"}`,
		Input: []string{"id", "kind", "amount", "text", "inside"},
		Outputs: []df.Output{
			{},
			{Name: "big", Columns: []df.Column{{Name: "id", Kind: "int64"}, {Name: "part", Kind: "int64"}}},
			{Name: "added", Columns: []df.Column{{Name: "total", Kind: "float64"}}, Adds: true},
		},
		Stateful: true,
	}
}

func (g *golden) Open(settings df.JSON) error {
	g.rate = 1
	if rate, there := settings.Get("rate"); there {
		number, is := rate.AsNumber()
		if !is {
			return errors.New("rate is no number")
		}
		g.rate = number
	}
	return nil
}

func (g *golden) Process(record df.JSON, out *df.Out) (df.Verdict, error) {
	g.seen++
	id, hasID := record.Get("id")
	text, _ := record.Text("text")
	kind, is := record.Text("kind")
	if !is {
		return df.Drop, errors.New("there is no kind")
	}
	amount, hasAmount := record.Get("amount")
	number, isNumber := amount.AsNumber()
	switch kind {
	case "copy":
		out.Copy(record)
	case "with":
		out.CopyWith(record, "amount", number*g.rate)
	case "keep":
		if !isNumber {
			return df.Drop, errors.New("there is no amount")
		}
		out.Extend(record)
		out.Field("total", number*g.rate)
		out.End()
	case "drop":
		out.Raw("{}")
		out.Emit("big")
		out.Raw("{}")
		return df.Drop, nil
	case "bad":
		out.Raw("{}")
		out.Emit("")
		return df.Drop, errors.New("it is bad: " + text)
	case "transient":
		return df.Drop, df.Transient("not now: " + text)
	case "fatal":
		return df.Drop, df.Fatal("never: " + text)
	case "many", "routes":
		for part, output := range []string{"big", "", "added"} {
			out.Object()
			out.Field("id", id)
			out.Field("part", part)
			out.End()
			if kind == "many" {
				output = ""
			}
			out.Emit(output)
		}
	case "text":
		out.Object()
		out.Field("text", text)
		out.End()
	case "inside":
		inside, there := record.Get("inside")
		if !there {
			return df.Drop, errors.New("there is nothing inside")
		}
		found, there := inside.Get("amount")
		if !there {
			found = "null"
		}
		out.Object()
		out.Field("found", found)
		out.End()
	case "number":
		out.Object()
		out.Field("raw", amount)
		if whole, is := amount.AsInteger(); is {
			out.Field("whole", whole)
		} else {
			out.Field("whole", nil)
		}
		if isNumber {
			out.Field("number", number)
		} else {
			out.Field("number", nil)
		}
		out.End()
	case "state":
		if !hasID {
			return df.Drop, errors.New("there is no id")
		}
		key := "[" + string(id) + "]"
		before, there := df.GetState(key)
		if !there {
			before = "null"
		}
		out.Object()
		out.Field("before", before)
		out.End()
		if hasAmount && !amount.IsNull() {
			df.SetState(key, amount)
		} else {
			df.ForgetState(key)
		}
	case "told":
		df.Log(df.LevelWarn, text)
		df.Metric("told", 2.5)
		out.Object()
		out.Field("now", df.Now())
		out.End()
	case "loop":
		for {
			g.seen++
		}
	case "grow":
		for {
			all = append(all, make([]byte, 1<<20))
		}
	case "deep":
		out.Value(deep(g.seen))
	case "panic":
		panic("it panics: " + text)
	case "bytes":
		out.Raw("{\"a\":\"\xff\"}")
	default:
		return df.Drop, errors.New("what is " + kind)
	}
	return df.Keep, nil
}

var all [][]byte

func deep(level int64) int64 {
	if level < 0 {
		return 1
	}
	return deep(level+1)*3 + level
}

func (g *golden) ExportState() df.JSON {
	var text [20]byte
	at, rest := len(text), g.seen
	for ; at == len(text) || rest > 0; rest /= 10 {
		at--
		text[at] = byte('0' + rest%10)
	}
	return df.JSON(text[at:])
}

func (g *golden) ImportState(state df.JSON) error {
	seen, is := state.AsInteger()
	if !is {
		return errors.New("the state is no number")
	}
	g.seen = seen
	return nil
}

func init() { df.Export(&golden{}) }

func main() {}
