package render

import (
	"encoding"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strings"
	"time"
)

// tree is encoding/json's view of v as maps, slices, strings, bools and numbers, with
// one difference: a time.Duration is a number of seconds (0.0012), where encoding/json
// would write nanoseconds that no reader expects. Times are RFC 3339.
func tree(v reflect.Value) (any, error) {
	if !v.IsValid() {
		return nil, nil
	}
	if value, done, err := scalar(v); done || err != nil {
		return value, err
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		return tree(v.Elem())
	case reflect.Struct:
		fields := map[string]any{}
		return fields, addFields(fields, v)
	case reflect.Map:
		return mapTree(v)
	case reflect.Slice, reflect.Array:
		return sliceTree(v)
	case reflect.String:
		return v.String(), nil
	case reflect.Bool:
		return v.Bool(), nil
	}
	return number(v)
}

// scalar handles the types that say themselves how they are written.
func scalar(v reflect.Value) (value any, done bool, err error) {
	if (v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface) && v.IsNil() {
		return nil, true, nil
	}
	switch x := v.Interface().(type) {
	case time.Duration:
		return x.Seconds(), true, nil
	case time.Time:
		return x.UTC().Format(time.RFC3339Nano), true, nil
	case json.Marshaler:
		return remarshal(x)
	case encoding.TextMarshaler:
		text, err := x.MarshalText()
		return string(text), true, err
	}
	return nil, false, nil
}

func remarshal(x json.Marshaler) (any, bool, error) {
	data, err := json.Marshal(x)
	if err != nil {
		return nil, true, err
	}
	var value any
	return value, true, json.Unmarshal(data, &value)
}

func addFields(fields map[string]any, v reflect.Value) error {
	for i := range v.NumField() {
		field := v.Type().Field(i)
		name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		switch {
		case name == "-":
			continue
		case field.Anonymous && name == "" && v.Field(i).Kind() == reflect.Struct:
			if err := addFields(fields, v.Field(i)); err != nil {
				return err
			}
			continue
		case !field.IsExported():
			continue
		case strings.Contains(options, "omitempty") && isEmpty(v.Field(i)), strings.Contains(options, "omitzero") && v.Field(i).IsZero():
			continue
		}
		if name == "" {
			name = field.Name
		}
		value, err := tree(v.Field(i))
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		fields[name] = value
	}
	return nil
}

// isEmpty is omitempty's notion: a struct is never empty.
func isEmpty(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Map, reflect.Slice, reflect.String, reflect.Array:
		return v.Len() == 0
	case reflect.Struct:
		return false
	}
	return v.IsZero()
}

func mapTree(v reflect.Value) (any, error) {
	if v.IsNil() {
		return nil, nil
	}
	fields := map[string]any{}
	for _, key := range v.MapKeys() {
		value, err := tree(v.MapIndex(key))
		if err != nil {
			return nil, err
		}
		fields[fmt.Sprint(key.Interface())] = value
	}
	return fields, nil
}

func sliceTree(v reflect.Value) (any, error) {
	items := make([]any, v.Len())
	for i := range items {
		item, err := tree(v.Index(i))
		if err != nil {
			return nil, err
		}
		items[i] = item
	}
	return items, nil
}

// number keeps whole numbers whole: a float64 would lose the low digits of an ID.
func number(v reflect.Value) (any, error) {
	switch {
	case v.CanInt():
		return v.Int(), nil
	case v.CanUint() && v.Uint() <= math.MaxInt64:
		return int64(v.Uint()), nil
	case v.CanUint():
		return json.Number(fmt.Sprint(v.Uint())), nil
	case v.CanFloat():
		return v.Float(), nil
	}
	return nil, fmt.Errorf("convert a %s", v.Type())
}
