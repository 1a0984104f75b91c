package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"
)

const (
	pollMax = 20 * time.Second
	overlap = time.Hour // of the range of a total, before the start of the run
)

var runName = os.Getenv("STREAMGAUGE_RUN")
var eventName = runName + "_units"

// scenario keeps, from step to step, what the customer's total must be: expected. The values sent are 1, 2 and 0.5,
// which are exact as binary fractions, as is every sum of them, so that float64 is exact here.
type scenario struct {
	cli             *cli
	meter, customer string
	begun           time.Time
	expected        float64
}

func newScenario(cli *cli) *scenario {
	return &scenario{cli: cli, begun: time.Now()}
}

func (s *scenario) meterLife() {
	made := answered[object](s.cli.call("billing", "meters", "create", "--display-name", "Units",
		"--event-name", eventName, "--default-aggregation.formula", "sum"))
	s.meter = made.ID
	same(made.Status, "active")
	same(answered[object](s.cli.call("billing", "meters", "retrieve", made.ID)).EventName, eventName)
	same(answered[object](s.cli.call("billing", "meters", "update", made.ID, "--display-name", "Renamed")).DisplayName, "Renamed")
	same(answered[object](s.cli.call("billing", "meters", "retrieve", made.ID)).DisplayName, "Renamed")

	listed := answered[struct{ Data []object }](s.cli.call("billing", "meters", "list", "--limit", "100"))
	found := false
	for _, meter := range listed.Data {
		found = found || meter.ID == made.ID
	}
	check(found, "%s is not in the list", made.ID)

	stopped := answered[object](s.cli.call("billing", "meters", "deactivate", made.ID))
	same(stopped.Status, "inactive")
	check(stopped.StatusTransitions["deactivated_at"] != nil, "deactivated_at is not set")
	same(answered[object](s.cli.call("billing", "meters", "reactivate", made.ID)).Status, "active")
}

func (s *scenario) customerMade() {
	made := answered[object](s.cli.call("customers", "create", "--name", "Ada", "-d", "metadata[run]="+runName))
	s.customer = made.ID
	same(made.Name, "Ada")
}

func (s *scenario) session() {
	made := answered[struct {
		Object    string
		Livemode  *bool
		Created   time.Time
		ExpiresAt time.Time `json:"expires_at"`
		Token     string    `json:"authentication_token"`
	}](s.cli.call("v2", "billing", "meter_event_sessions", "create"))
	same(made.Object, "v2.billing.meter_event_session")
	check(made.Livemode != nil && !*made.Livemode, "livemode is not false")
	same(made.ExpiresAt.Sub(made.Created), 15*time.Minute)
	check(made.Token != "", "the token is empty")
}

// stream stands for every step that needs the stream. A release of the CLI that has the call makes it fail here.
func (s *scenario) stream() {
	said := strings.TrimSpace(string(s.cli.run("v2", "billing", "meter_event_stream", "create")))
	said, _, _ = strings.Cut(said, ".")
	check(strings.HasSuffix(said, "is not supported by Stripe CLI yet"), "the stream's command says: %s", said)
	panic(notOffered(said + "; nor is a session's token a key that its other commands take"))
}

func (s *scenario) totals() {
	s.countedByV2("one", "1")
	s.countedByV2("two", "2", "--timestamp", s.begun.Add(-10*time.Minute).Format(time.RFC3339))
	s.countedByV1("half", "0.5")
	s.expected += 3.5
	s.waitForTotal()
}

func (s *scenario) duplicates() {
	refused(s.createByV2("one", "1"))
	refused(s.createByV2("two", "2", "--timestamp", s.begun.Add(-10*time.Minute).Format(time.RFC3339)))
	refused(s.createByV1("half", "0.5"))
	s.countedByV2("new", "2")
	s.expected += 2
	s.waitForTotal()
}

func (s *scenario) synchronous() {
	s.countedByV1("v1", "1")
	s.countedByV2("v2", "2")
	s.expected += 3
	byV1 := refused(s.createByV1("v1", "1"))
	same(byV1, refusal{
		Type:    "invalid_request_error",
		Message: fmt.Sprintf("An event already exists with identifier %s-v1.", runName),
	})
	same(refused(s.createByV2("v2", "2")).Code, "duplicate_meter_event")
	s.waitForTotal()
}

func (s *scenario) idempotency() {
	key := []string{"--idempotency", runName + "-key"}
	first := s.countedByV1("replayed", "2", key...)
	second := s.countedByV1("replayed", "2", key...)
	same(string(second), string(first))
	same(refused(s.createByV1("replayed", "1", key...)).Type, "idempotency_error")
	s.expected += 2
	s.waitForTotal()
}

func (s *scenario) cancel() {
	create := []string{"billing", "meter_event_adjustments", "create", "--event-name", eventName, "--type", "cancel"}
	v1 := answered[object](s.cli.call(append(create, "--cancel.identifier", runName+"-v1")...))
	same(v1.Object, "billing.meter_event_adjustment")
	check(v1.Status == "pending" || v1.Status == "complete", "the status is %q", v1.Status)
	create = append([]string{"v2"}, create...)
	v2 := answered[object](s.cli.call(append(create, "--cancel.identifier", runName+"-v2")...))
	same(v2.Object, "v2.billing.meter_event_adjustment")
	check(v2.Status == "pending" || v2.Status == "complete", "the status is %q", v2.Status)
	s.expected -= 3
	s.waitForTotal()
}

// createByV1 sends one event; more are further options of the command. v1 takes a payload as form fields.
func (s *scenario) createByV1(name, value string, more ...string) []byte {
	return s.cli.call(append([]string{"billing", "meter_events", "create",
		"--event-name", eventName,
		"--identifier", runName + "-" + name,
		"--timestamp", fmt.Sprint(s.begun.Unix()),
		"-d", "payload[stripe_customer_id]=" + s.customer,
		"-d", "payload[value]=" + value,
	}, more...)...)
}

// createByV2 sends one event; more are further options of the command. v2 takes a payload as JSON.
func (s *scenario) createByV2(name, value string, more ...string) []byte {
	payload := map[string]string{"stripe_customer_id": s.customer, "value": value}
	return s.cli.call(append([]string{"v2", "billing", "meter_events", "create",
		"--event-name", eventName,
		"--identifier", runName + "-" + name,
		"-d", string(must(json.Marshal(map[string]any{"payload": payload}))),
	}, more...)...)
}

func (s *scenario) countedByV1(name, value string, more ...string) []byte {
	return counted("billing.meter_event", name, s.createByV1(name, value, more...))
}

func (s *scenario) countedByV2(name, value string, more ...string) []byte {
	return counted("v2.billing.meter_event", name, s.createByV2(name, value, more...))
}

// counted gives back what was printed, which is to be the event.
func counted(kind, name string, printed []byte) []byte {
	event := answered[object](printed)
	same(event.Object, kind)
	same(event.Identifier, runName+"-"+name)
	return printed
}

// total is the customer's, over whole minutes: from an hour before the run until some time after now.
func (s *scenario) total() (sum float64) {
	listed := answered[struct {
		Data []struct {
			AggregatedValue float64 `json:"aggregated_value"`
		}
	}](s.cli.call("billing", "meter_event_summaries", "list", s.meter,
		"--customer", s.customer,
		"--start-time", fmt.Sprint(s.begun.Add(-overlap).Truncate(time.Minute).Unix()),
		"--end-time", fmt.Sprint(time.Now().Add(2*time.Minute).Truncate(time.Minute).Unix())))
	for _, summary := range listed.Data {
		sum += summary.AggregatedValue
	}
	return sum
}

func (s *scenario) waitForTotal() {
	for deadline := time.Now().Add(pollMax); ; time.Sleep(100 * time.Millisecond) {
		total := s.total()
		if total == s.expected {
			return
		}
		check(time.Now().Before(deadline), "the total is %v, not %v", total, s.expected)
	}
}

// takeTheTotalAsItIs follows a failure, so that one fault fails one step.
func (s *scenario) takeTheTotalAsItIs() {
	s.expected = 0 // stays when there is no meter yet; the steps after this one will say so
	_ = attempt(func() { s.expected = s.total() })
}
