package gcs

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/google"
)

const (
	// scope lets the credentials' own rights decide.
	scope = "https://www.googleapis.com/auth/cloud-platform"
	// answerTime is for the beginning of an answer, once a request is sent. A copy within
	// Google may take half of it.
	answerTime = time.Minute
)

// options are those that gocloud.dev documents; the last is for signed URLs alone.
var options = []string{"anonymous", "access_id", "universe_domain", "private_key_path"}

// newClient logs in: with the application default credentials, unless none are wanted.
func newClient(ctx context.Context, query url.Values) (*client, error) {
	for option := range query {
		if !slices.Contains(options, option) {
			return nil, fmt.Errorf("invalid query parameter %q", option)
		}
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.ResponseHeaderTimeout = answerTime
	c := &client{http: &http.Client{Transport: transport}, transport: transport, wait: wait}
	if host := os.Getenv("STORAGE_EMULATOR_HOST"); host != "" {
		c.base = emulator(host)
		return c, nil
	}
	domain := query.Get("universe_domain")
	anonymous, err := isAnonymous(query)
	if err != nil {
		return nil, err
	}
	if !anonymous {
		source, err := login(ctx, &domain)
		if err != nil {
			return nil, err
		}
		c.http.Transport = &oauth2.Transport{Base: transport, Source: source}
	}
	if domain == "" {
		domain = "googleapis.com"
	}
	c.base = "https://storage." + domain
	return c, nil
}

// login finds the credentials, and the domain that they are for unless the caller names one.
func login(ctx context.Context, domain *string) (oauth2.TokenSource, error) {
	found, err := google.FindDefaultCredentialsWithParams(ctx, google.CredentialsParams{Scopes: []string{scope}, UniverseDomain: *domain})
	if err != nil {
		return nil, fmt.Errorf("find Google's credentials: %w", err)
	}
	if *domain, err = found.GetUniverseDomain(); err != nil {
		return nil, fmt.Errorf("find the domain of Google's credentials: %w", err)
	}
	return found.TokenSource, nil
}

func isAnonymous(query url.Values) (bool, error) {
	if query.Get("access_id") == "-" {
		return true, nil
	}
	text := query.Get("anonymous")
	if text == "" {
		return false, nil
	}
	anonymous, err := strconv.ParseBool(text)
	if err != nil {
		return false, fmt.Errorf("invalid value %q for query parameter \"anonymous\": want true or false", text)
	}
	return anonymous, nil
}

func emulator(host string) string {
	if !strings.Contains(host, "://") {
		host = "http://" + host
	}
	return strings.TrimRight(host, "/")
}
