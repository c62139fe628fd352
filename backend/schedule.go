package backend

import (
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	sdkrotation "github.com/hashicorp/vault/sdk/rotation"
	"github.com/robfig/cron/v3"
)

// rotationSettings say when a credential is replaced by itself: a role's key, or
// an account's admin credential. They are stored with their owner.
type rotationSettings struct {
	RotationPeriod   time.Duration `json:"rotation_period,omitempty"`
	RotationSchedule string        `json:"rotation_schedule,omitempty"`
	RotationWindow   time.Duration `json:"rotation_window,omitempty"`

	// cron is RotationSchedule, parsed once: a read of a key asks it for the ttl.
	cron *cron.SpecSchedule
}

// parse makes the settings ready for use. A schedule that cannot be parsed was
// refused when it was written.
func (r *rotationSettings) parse() {
	r.cron = nil
	if r.RotationSchedule != "" {
		r.cron, _ = sdkrotation.DefaultScheduler.Parse(r.RotationSchedule)
	}
}

// next says when a credential that was last replaced at last is due, by the
// present settings: a changed period takes effect at once. A window that is over
// has passed, and a retry that would fall behind one waits for the next. Zero:
// on demand only.
func (r *rotationSettings) next(last, retry time.Time) time.Time {
	switch {
	case r.RotationPeriod > 0:
		return last.Add(r.RotationPeriod)
	case r.cron == nil:
		return time.Time{}
	case r.RotationWindow == 0:
		return r.cron.Next(last.UTC())
	}
	now := time.Now().UTC()
	if retry.After(now) {
		now = retry.UTC()
	}
	if open := now.Add(-r.RotationWindow); open.After(last) {
		last = open
	}
	return r.cron.Next(last.UTC())
}

// first is next without windows: when it should have been replaced.
func (r *rotationSettings) first(last time.Time) time.Time {
	if r.RotationPeriod > 0 || r.cron == nil {
		return r.next(last, time.Time{})
	}
	return r.cron.Next(last.UTC())
}

// take merges a request. Of period and schedule, the one that was just given
// replaces the other.
func (r *rotationSettings) take(data *framework.FieldData) error {
	_, newPeriod := data.GetOk("rotation_period")
	_, newSchedule := data.GetOk("rotation_schedule")
	takeDuration(data, "rotation_period", &r.RotationPeriod)
	takeText(data, "rotation_schedule", &r.RotationSchedule)
	switch {
	case newPeriod && newSchedule && r.RotationPeriod > 0 && r.RotationSchedule != "":
		return invalidf("rotation_period and rotation_schedule exclude each other: give one of them")
	case newPeriod && r.RotationPeriod > 0:
		r.RotationSchedule, r.RotationWindow = "", 0
	case newSchedule && r.RotationSchedule != "":
		r.RotationPeriod = 0
	}
	takeDuration(data, "rotation_window", &r.RotationWindow)
	return r.check()
}

func (r *rotationSettings) check() error {
	if r.RotationSchedule == "" {
		r.cron = nil
		if r.RotationWindow > 0 {
			return invalidf("rotation_window belongs to rotation_schedule: give that too")
		}
		return nil
	}
	if _, err := sdkrotation.DefaultScheduler.Parse(r.RotationSchedule); err != nil {
		return invalidf("rotation_schedule: five cron fields are expected (minute hour day month weekday), such as \"0 3 * * SAT\": %v", err)
	}
	r.parse()
	if r.cron.Next(time.Now()).IsZero() {
		return invalidf("rotation_schedule: %q never comes", r.RotationSchedule)
	}
	if r.RotationWindow > 0 {
		if err := sdkrotation.DefaultScheduler.ValidateRotationWindow(int(r.RotationWindow.Seconds())); err != nil {
			return invalidf("%w", err)
		}
	}
	return nil
}

// describe adds the settings to an answer, by the names that Vault Agent and
// the database engine know.
func (r *rotationSettings) describe(answer map[string]any) {
	if r.RotationPeriod > 0 {
		answer["rotation_period"] = int64(r.RotationPeriod.Seconds())
	}
	if r.RotationSchedule != "" {
		answer["rotation_schedule"] = r.RotationSchedule
		answer["rotation_window"] = int64(r.RotationWindow.Seconds())
	}
}
