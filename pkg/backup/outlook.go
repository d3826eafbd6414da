package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/capture"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/segment"
)

// Outlook is what a continuous backup would mean for this etcd, measured.
type Outlook struct {
	Member     string        `json:"member"` // that would stream a base
	Base       time.Duration `json:"baseDuration"`
	BaseSize   int64         `json:"baseSize"`   // bytes as etcd streams it
	BaseStored int64         `json:"baseStored"` // about, compressed
	// Reads are the p99 of linearizable reads, which wait for the same quorum as puts do:
	// before, and while a base streamed.
	ReadsBefore time.Duration `json:"readP99Before"`
	ReadsDuring time.Duration `json:"readP99During"`
	// Sampled is how long the changes were looked at.
	Sampled            time.Duration `json:"sampled"`
	RevisionsPerSecond float64       `json:"revisionsPerSecond"`
	EventsPerSecond    float64       `json:"eventsPerSecond"`
	SegmentsPerDay     int64         `json:"segmentBytesPerDay"`
	BasesPerDay        int64         `json:"baseBytesPerDay"`
	// Growth is by how much the member's database may grow while a base streams: what is
	// written meanwhile.
	Growth int64 `json:"growth"`
	// WorstLoss is what may be lost when writer and etcd end at one moment.
	WorstLoss time.Duration `json:"worstLoss"`
}

// outlookReads is how long reads are measured before anything else is done.
const outlookReads = 3 * time.Second

// Measure streams one base to nowhere and follows the changes for a while. It puts nothing
// into the archive, and writes nothing to etcd.
func Measure(ctx context.Context, options ArchiveOptions, sample time.Duration) (*Outlook, error) {
	o := options.withDefaults()
	out := &Outlook{Sampled: sample, WorstLoss: o.Flush}
	before, err := readsDuring(ctx, o, func(ctx context.Context) error { return pause(ctx, outlookReads) })
	if err != nil {
		return nil, err
	}
	out.ReadsBefore = before
	if out.ReadsDuring, err = readsDuring(ctx, o, func(ctx context.Context) error { return out.base(ctx, o) }); err != nil {
		return nil, err
	}
	written, err := out.changes(ctx, o, sample)
	if err != nil {
		return nil, err
	}
	if o.Every > 0 {
		out.BasesPerDay = int64(float64(out.BaseStored) * float64(24*time.Hour) / float64(o.Every))
	}
	out.Growth = int64(float64(written) / sample.Seconds() * out.Base.Seconds())
	return out, nil
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// readsDuring is the p99 of linearizable reads while something is done.
func readsDuring(ctx context.Context, o ArchiveOptions, do func(context.Context) error) (time.Duration, error) {
	stop, cancel := context.WithCancel(ctx)
	defer cancel()
	var took []time.Duration
	var reading sync.WaitGroup
	reading.Go(func() {
		for stop.Err() == nil {
			began := time.Now()
			if _, _, err := capture.Head(stop, []capture.Source{{Name: o.Sources[0].Name, Client: o.Sources[0].Client}}, callTimeout); err == nil {
				took = append(took, time.Since(began))
			}
			_ = pause(stop, 10*time.Millisecond) // it ends with stop
		}
	})
	err := do(ctx)
	cancel()
	reading.Wait()
	if err != nil || len(took) == 0 {
		return 0, err
	}
	slices.Sort(took)
	return took[len(took)*99/100], nil
}

// base streams one to nowhere.
func (out *Outlook) base(ctx context.Context, o ArchiveOptions) error {
	stored := &counter{}
	options := o.Snapshot
	options.OnEvent = func(e Event) { o.OnNotice(Notice{Time: o.Now(), Progress: &e}) }
	report, err := run(ctx, o.Sources, options, func(ctx context.Context, a *attempt) (*Report, error) {
		stored.n = 0
		packed, err := zstd.NewWriter(stored, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
		if err != nil {
			return nil, err
		}
		report, err := a.stream(ctx, func(context.Context) io.Writer { return packed })
		return report, errors.Join(err, packed.Close())
	})
	if err != nil {
		return err
	}
	out.Member, out.Base, out.BaseSize, out.BaseStored = report.Member, report.Duration, report.Size, stored.n
	return nil
}

// counter counts what is written.
type counter struct{ n int64 }

func (c *counter) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	return len(p), nil
}

// changes follows etcd for a while, and tells how many bytes were written.
func (out *Outlook) changes(ctx context.Context, o ArchiveOptions, sample time.Duration) (written int64, err error) {
	var sources []capture.Source
	for _, s := range o.Sources {
		sources = append(sources, capture.Source{Name: s.Name, Client: s.Client})
	}
	asked := o.Now()
	head, _, err := capture.Head(ctx, sources, callTimeout)
	if err != nil {
		return 0, fmt.Errorf("read through etcd: %w", err)
	}
	stored := &counter{}
	encoder := segment.NewEncoder(stored)
	revisions, events := 0, 0
	until, cancel := context.WithTimeout(ctx, sample)
	defer cancel()
	err = capture.Follow(until, capture.Point{Revision: head, Time: asked}, capture.Options{Sources: sources, Every: o.Flush}, func(r segment.Record) error {
		if c, ok := r.(segment.Change); ok {
			revisions, events = revisions+1, events+len(c.Events)
			for _, e := range c.Events {
				written += int64(len(e.Record))
			}
		} else if revisions == 0 {
			return nil // notes have their place after a change
		}
		return encoder.Encode(r)
	})
	if !errors.Is(err, context.DeadlineExceeded) {
		return 0, err
	}
	if revisions > 0 {
		if _, err := encoder.Close(); err != nil {
			return 0, err
		}
	}
	out.RevisionsPerSecond, out.EventsPerSecond = float64(revisions)/sample.Seconds(), float64(events)/sample.Seconds()
	out.SegmentsPerDay = int64(float64(stored.n) * float64(24*time.Hour) / float64(sample))
	return written, nil
}
