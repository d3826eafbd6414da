package cmd

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"google.golang.org/grpc/grpclog"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/render"
)

// session is what all commands of one invocation share.
type session struct {
	genericiooptions.IOStreams
	getenv func(string) string
	kube   *genericclioptions.ConfigFlags

	output, color string // as given
	verbosity     int

	// bridge leads the libraries' loggers into ours. They are the process's own and not
	// safe to change under a running connection: Main sets it, tests have none.
	bridge func(*slog.Logger, int)

	// wayToEtcd and wayToArchive are the flags that were given to lead there: see typed.
	wayToEtcd, wayToArchive []string

	// endless is set by a command that goes on until it is interrupted: that is its end, no error.
	endless bool

	format render.Format
	colors render.Color
	log    *slog.Logger
}

func newSession(streams genericiooptions.IOStreams, getenv func(string) string) *session {
	return &session{
		IOStreams: streams,
		getenv:    getenv,
		kube:      genericclioptions.NewConfigFlags(true),
		log:       slog.New(slog.DiscardHandler),
	}
}

// addFlags adds what every command has.
func (s *session) addFlags(flags *pflag.FlagSet) {
	flags.StringVarP(&s.output, "output", "o", "", "output format: "+render.Formats)
	flags.StringVar(&s.color, "color", "auto", "colours: auto, always or never")
	flags.CountVarP(&s.verbosity, "verbose", "v", "say on stderr what is done; -vv what tunnel and clients do, too, -v=6 each request to Kubernetes, -v=7 and up with headers; never a secret")
}

// complete turns the common flags into typed values.
func (s *session) complete() (err error) {
	if s.format, err = render.ParseFormat(s.output); err != nil {
		return &usageError{err}
	}
	if s.colors, err = render.ParseColor(s.color); err != nil {
		return &usageError{err}
	}
	s.log = slog.New(slog.DiscardHandler)
	if s.verbosity > 0 {
		s.log = slog.New(slog.NewTextHandler(s.ErrOut, &slog.HandlerOptions{Level: logLevel(s.verbosity)}))
	}
	if s.bridge != nil {
		s.bridge(s.log, s.verbosity)
	}
	return nil
}

// logLevel: -v is info, -vv debug; klog counts its levels down from there.
func logLevel(verbosity int) slog.Level {
	if verbosity == 1 {
		return slog.LevelInfo
	}
	return min(slog.LevelDebug, slog.Level(-min(verbosity, maxVerbosity)))
}

// maxVerbosity is as much as is ever logged: from 8 on client-go logs bodies, and in a
// Secret's stands etcd's client key (client-go's rest/request.go, logBody).
const maxVerbosity = 7

// bridgeLogs leads the loggers of libraries, which are global, into ours; below the
// verbosity at which they have something to say they are silent.
func bridgeLogs(log *slog.Logger, verbosity int) {
	grpcLog := io.Discard
	if verbosity > 1 {
		grpcLog = logWriter{log}
	}
	grpclog.SetLoggerV2(grpclog.NewLoggerV2(io.Discard, grpcLog, grpcLog))
	bridgeKlog(log, verbosity)
}

// bridgeKlog does so for Kubernetes' client.
func bridgeKlog(log *slog.Logger, verbosity int) {
	if verbosity <= 1 {
		klog.SetLogger(logr.Discard())
		return
	}
	klog.SetSlogLogger(log)
	var level klog.Level
	_ = level.Set(fmt.Sprint(min(verbosity, maxVerbosity)))
}

// logWriter takes grpc's lines.
type logWriter struct{ log *slog.Logger }

func (w logWriter) Write(line []byte) (int, error) {
	w.log.Debug(strings.TrimSpace(string(line)), "from", "grpc")
	return len(line), nil
}

// linesOnly is for what goes on and on: a line for each thing, as text or as JSON.
func (s *session) linesOnly(what string) error {
	if s.format.Structured() && s.output != "json" {
		return usagef("%s writes a line for each thing that happens: -o text or -o json", what)
	}
	return nil
}

// refuseSpecial refuses a form of -o that another command has.
func (s *session) refuseSpecial(c *cobra.Command) error {
	if s.format.Special != c.Annotations[specialFormat] && s.format.Special != "" {
		return usagef("output format %q is none of %s", s.output, render.Formats)
	}
	return nil
}

// screen is the view's paper on stdout.
func (s *session) screen() *render.Screen { return s.screenOn(s.Out) }

func (s *session) screenOn(w io.Writer) *render.Screen {
	screen := render.NewScreen(w, render.Detect(w, s.getenv, s.colors))
	screen.Wide = s.format.Wide
	return screen
}

// notice writes a line for people; results go to stdout, never here.
func (s *session) notice(format string, args ...any) {
	_, _ = fmt.Fprintln(s.ErrOut, render.Clean(fmt.Sprintf(format, args...)))
}

// toWatcher is a notice for who sits before a terminal and would wonder.
func (s *session) toWatcher(format string, args ...any) {
	if render.Detect(s.ErrOut, s.getenv, s.colors).TTY {
		s.notice(format, args...)
	}
}

// restConfig is the kubeconfig's choice of API server, checked first: client-go
// itself would dial localhost:8080 where there is no kubeconfig at all.
func (s *session) restConfig() (*rest.Config, error) {
	if err := s.checkKubeconfig(); err != nil {
		return nil, err
	}
	config, err := s.kube.ToRESTConfig()
	if err != nil {
		return nil, fmt.Errorf("read kubeconfig: %w", err)
	}
	config = rest.CopyConfig(config)
	config.WarningHandler = rest.NoWarnings{}
	config.UserAgent = "kubectl-etcd/" + readBuild().Version
	return config, nil
}

func (s *session) checkKubeconfig() error {
	raw, err := s.kube.ToRawKubeConfigLoader().RawConfig()
	if err != nil {
		return s.kubeconfigError(err)
	}
	if *s.kube.APIServer != "" || s.getenv("KUBERNETES_SERVICE_HOST") != "" {
		return nil
	}
	names := slices.Sorted(maps.Keys(raw.Contexts))
	wanted := *s.kube.Context
	if wanted == "" {
		wanted = raw.CurrentContext
	}
	switch _, known := raw.Contexts[wanted]; {
	case len(raw.Clusters) == 0 && wanted == "":
		return noKubeconfig(fmt.Errorf("no kubeconfig: %s holds no cluster", s.kubeconfigPlace()))
	case wanted == "" && *s.kube.ClusterName == "":
		return withHint(fmt.Errorf("no context is chosen in %s", s.kubeconfigPlace()),
			"choose one of "+strings.Join(names, ", ")+": kubectl config use-context NAME, or --context NAME")
	case wanted != "" && !known:
		return wrongContext(wanted, names)
	}
	return nil
}

func (s *session) kubeconfigError(err error) error {
	if path := *s.kube.KubeConfig; path != "" && errors.Is(err, fs.ErrNotExist) {
		return noKubeconfig(fmt.Errorf("no kubeconfig: %s does not exist", path))
	}
	m := loadFailure.FindStringSubmatch(err.Error())
	switch {
	case m == nil:
		return fmt.Errorf("read kubeconfig: %w", err)
	case strings.Contains(m[2], "cannot unmarshal"): // it goes on with a Go struct
		return noKubeconfig(fmt.Errorf("%s is no kubeconfig", m[1]))
	case strings.Contains(m[2], "permission denied"):
		return noKubeconfig(fmt.Errorf("read kubeconfig: %s", m[2]))
	}
	return noKubeconfig(fmt.Errorf("%s is no kubeconfig: %s", m[1], m[2]))
}

// loadFailure is client-go's word for a file that it can't load; the cause is only text
// (its tools/clientcmd/loader.go).
var loadFailure = regexp.MustCompile(`error loading config file "([^"]*)": ([^\n]*)`)

func noKubeconfig(err error) error {
	return withHint(err,
		"name one: --kubeconfig FILE, or export KUBECONFIG=FILE (on a kubeadm node: /etc/kubernetes/admin.conf)",
		onNodeHint, endpointsHint)
}

func wrongContext(wanted string, names []string) error {
	err := fmt.Errorf("context %q does not exist", wanted)
	if len(names) == 0 {
		return withHint(err, "this kubeconfig has no contexts: kubectl config view")
	}
	return withHint(err, "the contexts are "+strings.Join(names, ", ")+": --context NAME")
}

// kubeconfigPlace names the files that were looked at.
func (s *session) kubeconfigPlace() string {
	if p := *s.kube.KubeConfig; p != "" {
		return p
	}
	if p := s.getenv("KUBECONFIG"); p != "" {
		return p
	}
	return "~/.kube/config"
}
