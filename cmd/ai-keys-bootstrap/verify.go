package main

import "context"

// verify looks for drift.
func (p *program) verify(ctx context.Context, _ []string) error {
	d, s, plan, err := p.compared(ctx)
	if err != nil {
		return err
	}
	unread := s.Unread(d)
	if p.flags.json {
		if err := p.document(planDocument{p.head(), plan.View(unread), p.foot()}); err != nil {
			return err
		}
	}
	say := p.say()
	say.Drift(plan)
	say.Unread(unread)
	if !plan.Empty() {
		return outcome(exitDifferences)
	}
	return nil
}
