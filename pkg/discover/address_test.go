package discover

import "testing"

// settingsOf makes settings out of name, value, name, value, …
func settingsOf(pairs ...string) Settings {
	s := Settings{}
	for i := 0; i < len(pairs); i += 2 {
		s[pairs[i]] = Setting{pairs[i+1], FromFlag}
	}
	return s
}

func TestServing(t *testing.T) {
	for _, test := range []struct {
		name string
		s    Settings
		want serving
	}{
		{"nothing set", settingsOf(), serving{2379, 0, 0, false, false, "localhost"}},
		{"loopback preferred", settingsOf("listen-client-urls", "https://10.0.0.1:4001,https://127.0.0.1:4011"),
			serving{4011, 0, 0, true, false, "localhost"}},
		{"no loopback", settingsOf("listen-client-urls", "https://10.0.0.1:4001"), serving{4001, 0, 0, true, false, "localhost"}},
		{"plain http has metrics on the client port", settingsOf("listen-client-urls", "http://0.0.0.0:2379"),
			serving{2379, 0, 2379, false, false, "localhost"}},
		{"metrics on the node's address only", settingsOf("listen-client-urls", "https://127.0.0.1:2379",
			"listen-metrics-urls", "http://10.0.0.1:2381"), serving{2379, 0, 0, true, false, "localhost"}},
		{"metrics over TLS", settingsOf("listen-metrics-urls", "https://0.0.0.0:9978"), serving{2379, 0, 0, false, false, "localhost"}},
		{"mutual by CA alone", settingsOf("cert-file", "/a", "trusted-ca-file", "/b"), serving{2379, 0, 0, true, true, "localhost"}},
		{"server TLS only", settingsOf("cert-file", "/a"), serving{2379, 0, 0, true, false, "localhost"}},
		{"a CA without TLS asks nobody", settingsOf("listen-client-urls", "http://127.0.0.1:1", "trusted-ca-file", "/b"),
			serving{1, 0, 1, false, false, "localhost"}},
		{"name of the service", settingsOf("advertise-client-urls", "https://e-0.e.ns.svc:2379", "listen-peer-urls", "https://0.0.0.0:2390"),
			serving{2379, 2390, 0, true, false, "e-0.e.ns.svc"}},
		{"placeholder is no name", settingsOf("advertise-client-urls", "https://${IP}:2379"), serving{2379, 0, 0, true, false, "localhost"}},
		{"IPv6", settingsOf("listen-client-urls", "https://[fd00::1]:2379,https://[::1]:2378"), serving{2378, 0, 0, true, false, "localhost"}},
		{"sockets are not for us", settingsOf("listen-client-urls", "unixs://x:0,https://[::]:2379"), serving{2379, 0, 0, true, false, "localhost"}},
	} {
		if got := genericServing(process{}, test.s); got != test.want {
			t.Errorf("%s: %+v, want %+v", test.name, got, test.want)
		}
	}
}

func TestDialable(t *testing.T) {
	for from, want := range map[string]string{
		"https://0.0.0.0:2379":   "https://127.0.0.1:2379",
		"https://[::]:2379":      "https://[::1]:2379",
		"https://[::1]:2379":     "https://[::1]:2379",
		"http://localhost:2379":  "http://localhost:2379",
		"https://10.0.0.1:2379/": "https://10.0.0.1:2379",
	} {
		if got := parseAddresses(from)[0].dialable().String(); got != want {
			t.Errorf("%s: %s, want %s", from, got, want)
		}
	}
}
