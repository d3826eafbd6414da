package render

import (
	"fmt"
	"io"
	"os"
	"strings"

	"k8s.io/cli-runtime/pkg/printers"
)

// Formats names what -o takes, for its help and its error.
const Formats = "wide, json, yaml, name, jsonpath=TEMPLATE, jsonpath-file=FILE, go-template=TEMPLATE, go-template-file=FILE"

// Format is a parsed -o. Its zero value is the view for people.
type Format struct {
	Wide    bool
	Special string // "short" or "patch": forms that only some commands have
	printer printers.ResourcePrinter
}

// ParseFormat reads the value of -o.
func ParseFormat(text string) (Format, error) {
	name, argument, hasArgument := strings.Cut(text, "=")
	switch name {
	case "jsonpath", "go-template", "jsonpath-file", "go-template-file":
		if argument == "" {
			return Format{}, fmt.Errorf("output format %s needs a template: %s=…", name, name)
		}
		return templateFormat(name, argument)
	}
	if hasArgument {
		return Format{}, fmt.Errorf("output format %q is none of %s", text, Formats)
	}
	switch name {
	case "", "text":
		return Format{}, nil
	case "short", "patch":
		return Format{Special: name}, nil
	case "wide":
		return Format{Wide: true}, nil
	case "json":
		return Format{printer: &printers.JSONPrinter{}}, nil
	case "yaml":
		return Format{printer: &printers.YAMLPrinter{}}, nil
	case "name":
		return Format{printer: &printers.NamePrinter{ShortOutput: true}}, nil
	}
	return Format{}, fmt.Errorf("output format %q is none of %s", text, Formats)
}

func templateFormat(name, text string) (Format, error) {
	kind, isFile := strings.CutSuffix(name, "-file")
	if isFile {
		data, err := os.ReadFile(text)
		if err != nil {
			return Format{}, fmt.Errorf("read template: %w", err)
		}
		text = string(data)
	}
	if kind == "go-template" {
		p, err := printers.NewGoTemplatePrinter([]byte(text))
		if err != nil {
			return Format{}, fmt.Errorf("parse template %q: %w", text, err)
		}
		p.AllowMissingKeys(true)
		return Format{printer: p}, nil
	}
	p, err := printers.NewJSONPathPrinter(text)
	if err != nil {
		return Format{}, fmt.Errorf("parse jsonpath %q: %w", text, err)
	}
	p.AllowMissingKeys(true)
	return Format{printer: p}, nil
}

// Structured is true for the forms that programs read.
func (f Format) Structured() bool { return f.printer != nil }

// Print writes what in a structured form.
func (f Format) Print(w io.Writer, what Structured) error {
	object, err := what.structured()
	if err != nil {
		return err
	}
	return f.printer.PrintObj(object, w)
}
