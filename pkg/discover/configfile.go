package discover

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"sigs.k8s.io/yaml"
)

// sections of etcd's config file hold settings that are flags of their own: their
// names there, and what the flags' begin with (etcd server/embed/config.go, configYAML).
var sections = map[string]string{
	"client-transport-security": "",
	"peer-transport-security":   "peer-",
}

// readConfigFile reads the config file of an etcd on this node.
func (d disk) readConfigFile(name string) (Settings, error) {
	data, err := d.read(name)
	if err != nil {
		return nil, fmt.Errorf("etcd's settings are unknown: %w", err)
	}
	settings, err := parseConfigFile(data)
	if err != nil {
		return nil, fmt.Errorf("etcd's settings are unknown: %s: %w", d.at(name), err)
	}
	return settings, nil
}

// parseConfigFile reads etcd's --config-file: YAML, the flags' names as keys.
func parseConfigFile(data []byte) (Settings, error) {
	values, err := decodeConfigFile(data)
	if err != nil {
		return nil, err
	}
	return configSettings(values, FromFile), nil
}

func decodeConfigFile(data []byte) (map[string]any, error) {
	asJSON, err := yaml.YAMLToJSON(data)
	if err != nil {
		return nil, fmt.Errorf("parse config file: %w", err)
	}
	decoder := json.NewDecoder(bytes.NewReader(asJSON))
	decoder.UseNumber() // a quota is a number of bytes, not 8.58e+09
	var values map[string]any
	if err := decoder.Decode(&values); err != nil {
		return nil, fmt.Errorf("parse config file: %w", err)
	}
	return values, nil
}

// configSettings are the values of a config file that stands in from.
func configSettings(values map[string]any, from Origin) Settings {
	settings := Settings{}
	for name, value := range values {
		section, ok := value.(map[string]any)
		if !ok {
			settings.addValue(name, value, from)
			continue
		}
		if prefix, known := sections[name]; known {
			for inner, value := range section {
				settings.addValue(prefix+inner, value, from)
			}
		}
	}
	return settings
}

// addValue adds a value of the file as the flag would have it. etcd takes an empty one
// for unset.
func (s Settings) addValue(name string, value any, from Origin) {
	text := fmt.Sprint(value)
	if list, ok := value.([]any); ok {
		text = strings.Trim(strings.ReplaceAll(fmt.Sprint(list), " ", ","), "[]")
	}
	if value != nil && text != "" {
		s[name] = Setting{text, from}
	}
}
