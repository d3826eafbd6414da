package gcs

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestOptions(t *testing.T) {
	for query, want := range map[string]string{ // the server that is asked, or what the error says
		"anonymous=true": "https://storage.googleapis.com",
		"access_id=-":    "https://storage.googleapis.com",
		"anonymous=1&universe_domain=cloud.example": "https://storage.cloud.example",
		"anonymous=perhaps":                         `invalid value "perhaps"`,
		"anonymus=true":                             `invalid query parameter "anonymus"`,
		"access_id=somebody":                        "find Google's credentials",
		"":                                          "find Google's credentials",
	} {
		t.Setenv("STORAGE_EMULATOR_HOST", "")
		t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", filepath.Join(t.TempDir(), "none"))
		b, err := open(t.Context(), &url.URL{Scheme: Scheme, Host: "archive", RawQuery: query})
		if err != nil && strings.Contains(err.Error(), want) {
			continue
		}
		if err != nil || b.base != want {
			t.Errorf("%q: %v, want %s", query, err, want)
		}
	}
}

func TestEmulator(t *testing.T) {
	for host, want := range map[string]string{
		"localhost:4443": "http://localhost:4443", "http://localhost:4443/": "http://localhost:4443", "https://emulator": "https://emulator",
	} {
		if got := emulator(host); got != want {
			t.Errorf("%q: %s, want %s", host, got, want)
		}
	}
}

// serviceAccount is Google's server for a service account's credentials, whose file it names
// in the environment. It gives tokens in these words, the first time first.
func serviceAccount(t *testing.T, answers ...http.HandlerFunc) (address string, asked *calls) {
	t.Helper()
	asked = &calls{}
	mux := http.NewServeMux()
	mux.HandleFunc("/token", func(w http.ResponseWriter, r *http.Request) { answers[asked.note(r)-1](w, r) })
	mux.HandleFunc("/storage/v1/b/archive/o/x", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer secret" {
			http.Error(w, "who is it?", http.StatusUnauthorized)
			return
		}
		say(w, `{"size":"1"}`)
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	file, err := json.Marshal(map[string]string{
		"type": "service_account", "client_email": "backup@test", "private_key_id": "1", "token_uri": server.URL + "/token", "universe_domain": "cloud.example",
		"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})),
	})
	path := filepath.Join(t.TempDir(), "credentials.json")
	if err = errors.Join(err, os.WriteFile(path, file, 0o600)); err != nil {
		t.Fatal(err)
	}
	t.Setenv("STORAGE_EMULATOR_HOST", "")
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", path)
	return server.URL, asked
}

func token(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	say(w, `{"access_token":"secret","token_type":"Bearer","expires_in":3600}`)
}

func refusal(status int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { http.Error(w, `{"error":"said by the test"}`, status) }
}

// TestLogin: the credentials' token comes with each request, and is asked for again as all is.
func TestLogin(t *testing.T) {
	for _, test := range []struct {
		answers []http.HandlerFunc
		asked   int
		says    string
	}{
		{[]http.HandlerFunc{token}, 1, ""},
		{[]http.HandlerFunc{refusal(503), token}, 2, ""},
		{[]http.HandlerFunc{refusal(400)}, 1, "said by the test"},
	} {
		address, asked := serviceAccount(t, test.answers...)
		b, err := open(t.Context(), &url.URL{Scheme: Scheme, Host: "archive"})
		if err != nil {
			t.Fatal(err)
		}
		if b.base != "https://storage.cloud.example" {
			t.Errorf("asks %s, want what the credentials name", b.base)
		}
		b.base, b.wait = address, func(context.Context, time.Duration) error { return nil }
		if _, err = b.Attributes(t.Context(), "x"); err == nil {
			_, err = b.Attributes(t.Context(), "x") // with the same token
		}
		if got := len(asked.all()); (err == nil) != (test.says == "") || err != nil && !strings.Contains(err.Error(), test.says) || got != test.asked {
			t.Errorf("%v, after asking for %d tokens, want %d and %q", err, got, test.asked, test.says)
		}
	}
}
