package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/stripe/stripe-go/v85"
)

const (
	eventCount     = 250
	batchEventsMax = 100
	pollMax        = 20 * time.Second
	overlap        = time.Hour // of the range of a total, before the start of the run
)

// In turn; all of them are exact as binary fractions, as is every sum of them, so that float64 is exact here.
var values = []string{"1", "2", "0.5"}
var amounts = []float64{1, 2, 0.5}

var ctx = context.Background()
var runName = os.Getenv("STREAMGAUGE_RUN")
var eventName = runName + "_units"

type streamEvent = stripe.V2BillingMeterEventStreamCreateEventParams

// scenario keeps, from step to step, what the customer's total must be: expected.
type scenario struct {
	client, streaming *stripe.Client
	meter, customer   string
	events            []*streamEvent
	begun             time.Time
	expected          float64
}

// connect makes a client whose every call, the stream included, goes to Streamgauge.
func connect(credential string) *stripe.Client {
	backends := stripe.NewBackendsWithConfig(&stripe.BackendConfig{
		URL:           stripe.String(os.Getenv("STREAMGAUGE_URL")),
		LeveledLogger: &stripe.LeveledLogger{Level: stripe.LevelNull}, // many steps ask for an error; none is news
	})
	return stripe.NewClient(credential, stripe.WithBackends(backends))
}

func newScenario() *scenario {
	client := connect(os.Getenv("STREAMGAUGE_KEY"))
	return &scenario{client: client, streaming: client, begun: time.Now()}
}

func (s *scenario) meterLife() {
	meters := s.client.V1BillingMeters
	made := must(meters.Create(ctx, &stripe.BillingMeterCreateParams{
		DisplayName: stripe.String("Units"),
		EventName:   stripe.String(eventName),
		DefaultAggregation: &stripe.BillingMeterCreateDefaultAggregationParams{
			Formula: stripe.String(stripe.BillingMeterDefaultAggregationFormulaSum),
		},
	}))
	s.meter = made.ID
	same(made.Status, stripe.BillingMeterStatusActive)
	same(must(meters.Retrieve(ctx, made.ID, nil)).EventName, eventName)
	renamed := must(meters.Update(ctx, made.ID, &stripe.BillingMeterUpdateParams{DisplayName: stripe.String("Renamed")}))
	same(renamed.DisplayName, "Renamed")
	same(must(meters.Retrieve(ctx, made.ID, nil)).DisplayName, "Renamed")

	found := false
	meters.List(ctx, nil).All(ctx)(func(meter *stripe.BillingMeter, err error) bool {
		found = must(meter, err).ID == made.ID
		return !found
	})
	check(found, "%s is not in the list", made.ID)

	stopped := must(meters.Deactivate(ctx, made.ID, nil))
	same(stopped.Status, stripe.BillingMeterStatusInactive)
	check(stopped.StatusTransitions.DeactivatedAt > 0, "deactivated_at is not set")
	same(must(meters.Reactivate(ctx, made.ID, nil)).Status, stripe.BillingMeterStatusActive)
}

func (s *scenario) customerMade() {
	made := must(s.client.V1Customers.Create(ctx, &stripe.CustomerCreateParams{
		Name:     stripe.String("Ada"),
		Metadata: map[string]string{"run": runName},
	}))
	s.customer = made.ID
	same(made.Name, "Ada")
}

func (s *scenario) session() {
	made := must(s.client.V2BillingMeterEventSessions.Create(ctx, nil))
	same(made.Object, "v2.billing.meter_event_session")
	same(made.Livemode, false)
	same(made.ExpiresAt.Sub(made.Created), 15*time.Minute)
	check(made.AuthenticationToken != "", "the token is empty")
	s.streaming = connect(made.AuthenticationToken)
}

func (s *scenario) stream() {
	moment := time.Now().Add(-10 * time.Minute)
	for number := 0; number < eventCount; number++ {
		event := s.event(fmt.Sprintf("stream-%d", number), values[number%3])
		if number%2 == 1 {
			event.Timestamp = &moment
		}
		s.events = append(s.events, event)
		s.expected += amounts[number%3]
	}
	s.sendEvents()
}

func (s *scenario) duplicates() {
	s.sendEvents()
	// The log keeps the order of what one client sends: once this one is counted, so would the repeats be.
	must(0, send(s.streaming, s.event("new", "2")))
	s.expected += 2
	s.waitForTotal()
}

func (s *scenario) synchronous() {
	createV1 := func() (*stripe.BillingMeterEvent, error) {
		return s.client.V1BillingMeterEvents.Create(ctx, s.eventV1("v1", "1"))
	}
	createV2 := func() (*stripe.V2BillingMeterEvent, error) {
		return s.client.V2BillingMeterEvents.Create(ctx, &stripe.V2BillingMeterEventCreateParams{
			EventName:  stripe.String(eventName),
			Identifier: stripe.String(runName + "-v2"),
			Payload:    s.payload("2"),
		})
	}
	madeV1, madeV2 := must(createV1()), must(createV2())
	same(madeV1.Object, "billing.meter_event")
	same(madeV1.Identifier, runName+"-v1")
	same(madeV2.Object, "v2.billing.meter_event")
	same(madeV2.Identifier, runName+"-v2")
	s.expected += 3

	_, again := createV1() // the client gives each call an Idempotency-Key of its own
	raised[*stripe.InvalidRequestError](again)
	errorV1 := raised[*stripe.Error](again)
	same(errorV1.HTTPStatusCode, 400)
	same(errorV1.Type, stripe.ErrorTypeInvalidRequest)
	same(errorV1.Msg, "An event already exists with identifier "+runName+"-v1.")
	_, again = createV2()
	errorV2 := raised[*stripe.V2RawError](again)
	same(errorV2.HTTPStatusCode, 400)
	same(errorV2.Code, "duplicate_meter_event")
	s.waitForTotal()
}

func (s *scenario) idempotency() {
	create := func(value string) (*stripe.BillingMeterEvent, error) {
		params := s.eventV1("replayed", value)
		params.SetIdempotencyKey(runName + "-key")
		return s.client.V1BillingMeterEvents.Create(ctx, params)
	}
	first, second := must(create("2")), must(create("2"))
	same(string(second.LastResponse.RawJSON), string(first.LastResponse.RawJSON))
	s.expected += 2

	_, err := create("1")
	raised[*stripe.IdempotencyError](err)
	same(raised[*stripe.Error](err).Type, stripe.ErrorTypeIdempotency)
	s.waitForTotal()
}

func (s *scenario) cancel() {
	v1 := must(s.client.V1BillingMeterEventAdjustments.Create(ctx, &stripe.BillingMeterEventAdjustmentCreateParams{
		EventName: stripe.String(eventName),
		Type:      stripe.String(stripe.BillingMeterEventAdjustmentTypeCancel),
		Cancel: &stripe.BillingMeterEventAdjustmentCreateCancelParams{
			Identifier: stripe.String(runName + "-v1"),
		},
	}))
	same(v1.Object, "billing.meter_event_adjustment")
	check(v1.Status == "pending" || v1.Status == "complete", "the status is %q", v1.Status)
	v2 := must(s.client.V2BillingMeterEventAdjustments.Create(ctx, &stripe.V2BillingMeterEventAdjustmentCreateParams{
		EventName: stripe.String(eventName),
		Type:      stripe.String(stripe.V2BillingMeterEventAdjustmentTypeCancel),
		Cancel: &stripe.V2BillingMeterEventAdjustmentCreateCancelParams{
			Identifier: stripe.String(runName + "-v2"),
		},
	}))
	same(v2.Object, "v2.billing.meter_event_adjustment")
	check(v2.Status == "pending" || v2.Status == "complete", "the status is %q", v2.Status)
	s.expected -= 3
	s.waitForTotal()
}

func (s *scenario) expired() {
	late := connect(os.Getenv("STREAMGAUGE_EXPIRED_TOKEN"))
	raised[*stripe.TemporarySessionExpiredError](send(late, s.event("late", "1")))
}

func (s *scenario) refused() {
	var tooMany []*streamEvent
	for number := 0; number <= batchEventsMax; number++ {
		tooMany = append(tooMany, s.event(fmt.Sprintf("refused-%d", number), "1"))
	}
	err := raised[*stripe.V2RawError](send(s.streaming, tooMany...))
	same(err.HTTPStatusCode, 400)
	same(err.Code, "invalid_fields")
	must(0, send(s.streaming, s.event("after", "2")))
	s.expected += 2
	s.waitForTotal()
}

func (s *scenario) payload(value string) map[string]string {
	return map[string]string{"stripe_customer_id": s.customer, "value": value}
}

func (s *scenario) event(name, value string) *streamEvent {
	return &streamEvent{
		EventName:  stripe.String(eventName),
		Identifier: stripe.String(runName + "-" + name),
		Payload:    s.payload(value),
	}
}

func (s *scenario) eventV1(name, value string) *stripe.BillingMeterEventCreateParams {
	return &stripe.BillingMeterEventCreateParams{
		EventName:  stripe.String(eventName),
		Identifier: stripe.String(runName + "-" + name),
		Payload:    s.payload(value),
		Timestamp:  stripe.Int64(s.begun.Unix()),
	}
}

func send(client *stripe.Client, events ...*streamEvent) error {
	return client.V2BillingMeterEventStreams.Create(ctx, &stripe.V2BillingMeterEventStreamCreateParams{Events: events})
}

func (s *scenario) sendEvents() {
	for rest := s.events; len(rest) > 0; {
		batch := rest[:min(batchEventsMax, len(rest))]
		must(0, send(s.streaming, batch...))
		rest = rest[len(batch):]
	}
}

// total is the customer's, over whole minutes: from an hour before the run until some time after now.
func (s *scenario) total() float64 {
	sum := 0.0
	s.client.V1BillingMeterEventSummaries.List(ctx, &stripe.BillingMeterEventSummaryListParams{
		ID:        stripe.String(s.meter),
		Customer:  stripe.String(s.customer),
		StartTime: stripe.Int64(s.begun.Add(-overlap).Truncate(time.Minute).Unix()),
		EndTime:   stripe.Int64(time.Now().Add(2 * time.Minute).Truncate(time.Minute).Unix()),
	}).All(ctx)(func(summary *stripe.BillingMeterEventSummary, err error) bool {
		sum += must(summary, err).AggregatedValue
		return true
	})
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
