package etcd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// maxPage bounds what is read of a page, in bytes: etcd's metrics are about 150 kB.
const maxPage = 32 << 20

// ErrNoPage: the member serves no such page there. With listen-client-http-urls its pages
// are elsewhere.
var ErrNoPage = errors.New("no such page")

// Page is what a member answered over HTTP.
type Page struct {
	Status          int
	Date            time.Time // the member's clock, in whole seconds; zero: it said none
	Asked, Answered time.Time // our clock
	Body            []byte
}

// Page gets a page from the member's client URL ("/metrics", "/debug/vars", "/readyz?verbose"),
// over a connection of its own that is made the same way as the others. Status may be an
// error's: /readyz tells so that it is not ready.
func (c *Client) Page(ctx context.Context, path string) (Page, error) {
	return getPage(ctx, c.pages(), c.endpoint.URL+path)
}

// pages is an HTTP client over the member's link.
func (c *Client) pages() *http.Client {
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return c.link.dialContext(ctx, "") }}
	if c.link.tls != nil {
		transport.TLSClientConfig = c.link.tls.Clone()
		transport.TLSClientConfig.ServerName = c.link.serverName
	}
	transport.DisableKeepAlives = true
	return &http.Client{Transport: transport}
}

// PageAt gets a page of a plain-HTTP server through dial, as of the metrics URL.
func PageAt(ctx context.Context, dial func(ctx context.Context) (net.Conn, error), path string) (Page, error) {
	transport := &http.Transport{
		DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) },
		DisableKeepAlives: true,
	}
	return getPage(ctx, &http.Client{Transport: transport}, "http://127.0.0.1"+path)
}

func getPage(ctx context.Context, client *http.Client, url string) (page Page, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return Page{}, fmt.Errorf("get %s: %w", url, err)
	}
	page.Asked = time.Now()
	response, err := client.Do(request)
	if err != nil {
		return Page{}, fmt.Errorf("get page: %w", err)
	}
	defer func() { err = errors.Join(err, response.Body.Close()) }()
	page.Answered = time.Now()
	page.Status = response.StatusCode
	page.Date, _ = http.ParseTime(response.Header.Get("Date")) // zero: there is none
	if response.StatusCode == http.StatusNotFound {
		return page, fmt.Errorf("get page: %w", ErrNoPage)
	}
	page.Body, err = io.ReadAll(io.LimitReader(response.Body, maxPage))
	if err != nil {
		return page, fmt.Errorf("read page: %w", err)
	}
	return page, nil
}

// Metrics parses the page as metrics.
func (p Page) Metrics() (*Metrics, error) {
	if p.Status != http.StatusOK {
		return nil, fmt.Errorf("metrics: the member answers %d", p.Status)
	}
	metrics, err := ReadMetrics(bytes.NewReader(p.Body), p.Answered)
	if err != nil {
		return nil, err
	}
	metrics.date = p.Date
	return metrics, nil
}

// Vars are what a member's process says of itself at /debug/vars (server/v3 etcdserver,
// expvar; on the client URL in every version from 3.4).
type Vars struct {
	Argv []string   // its command line, flags that are set in other ways not in it
	Raft RaftStatus // nothing in it where the member publishes none
}

// RaftStatus is raft's own view (raft/v3 Status, as JSON).
type RaftStatus struct {
	State    string // "StateLeader"
	Commit   uint64
	Progress map[ID]Progress // on the leader, of every member
}

// Progress is how far the leader knows a member to be.
type Progress struct {
	Match uint64 `json:"match"`
	Next  uint64 `json:"next"`
	State string `json:"state"` // "StateReplicate", "StateProbe", "StateSnapshot"
}

// Vars parses the page as /debug/vars.
func (p Page) Vars() (Vars, error) {
	var page struct {
		Argv []string `json:"cmdline"`
		Raft struct {
			State    string              `json:"raftState"`
			Commit   uint64              `json:"commit"`
			Progress map[string]Progress `json:"progress"`
		} `json:"raft.status"`
	}
	if p.Status != http.StatusOK {
		return Vars{}, fmt.Errorf("variables: the member answers %d", p.Status)
	}
	if err := json.Unmarshal(p.Body, &page); err != nil {
		return Vars{}, fmt.Errorf("parse variables: %w", err)
	}
	vars := Vars{Argv: page.Argv, Raft: RaftStatus{State: page.Raft.State, Commit: page.Raft.Commit, Progress: map[ID]Progress{}}}
	for text, progress := range page.Raft.Progress {
		var id ID
		if err := id.UnmarshalText([]byte(text)); err != nil {
			return Vars{}, err
		}
		vars.Raft.Progress[id] = progress
	}
	return vars, nil
}

// Checks are the lines of /livez?verbose and /readyz?verbose: "[+]serializable_read ok".
func (p Page) Checks() map[string]bool {
	checks := map[string]bool{}
	for line := range strings.Lines(string(p.Body)) {
		if len(line) < 4 || line[0] != '[' || line[2] != ']' {
			continue
		}
		name, _, _ := strings.Cut(line[3:], " ")
		checks[strings.TrimSuffix(name, ":")] = line[1] == '+'
	}
	return checks
}
