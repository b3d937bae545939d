package https

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// zapTo returns a logger for certmagic that writes to ours. What goes wrong is told by this package in words for people, once; all that
// certmagic says is for who debugs.
func zapTo(log *slog.Logger) *zap.Logger { return zap.New(core{log.Handler()}) }

// core is a zapcore.Core over a slog.Handler.
type core struct{ slog.Handler }

func (c core) Enabled(zapcore.Level) bool {
	return c.Handler.Enabled(context.Background(), slog.LevelDebug)
}

func (c core) With(fields []zapcore.Field) zapcore.Core {
	return core{c.Handler.WithAttrs(attrs(fields))}
}

func (c core) Check(e zapcore.Entry, to *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(e.Level) {
		return to.AddCore(e, c)
	}
	return to
}

func (c core) Write(e zapcore.Entry, fields []zapcore.Field) error {
	r := slog.NewRecord(e.Time, slog.LevelDebug, e.Message, 0)
	r.AddAttrs(attrs(fields)...)
	return c.Handle(context.Background(), r)
}

func (core) Sync() error { return nil }

// attrs translates what is a plain value under a name that holds no secret. Anything else may hold one: a header, a whole account,
// an answer to a challenge.
func attrs(fields []zapcore.Field) []slog.Attr {
	var out []slog.Attr
	for _, f := range fields {
		if !slices.Contains(plainFields, f.Key) {
			continue
		}
		switch f.Type {
		case zapcore.StringType:
			out = append(out, slog.String(f.Key, f.String))
		case zapcore.BoolType:
			out = append(out, slog.Bool(f.Key, f.Integer == 1))
		case zapcore.Int64Type, zapcore.Int32Type, zapcore.Uint32Type, zapcore.Uint64Type:
			out = append(out, slog.Int64(f.Key, f.Integer))
		case zapcore.DurationType:
			out = append(out, slog.Duration(f.Key, time.Duration(f.Integer)))
		case zapcore.ErrorType:
			if err, ok := f.Interface.(error); ok && err != nil {
				out = append(out, slog.String(f.Key, err.Error()))
			}
		}
	}
	return out
}

// plainFields are the fields that are kept. URLs of orders and accounts are not secrets: every request to them is signed.
var plainFields = []string{"identifier", "identifiers", "challenge_type", "challenge", "ca", "attempt", "max_attempts", "method", "url", "status_code",
	"order", "authz_status", "authz_url", "account_id", "distributed", "remote", "server_name", "count", "error"}
