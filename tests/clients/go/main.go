// The scenario of tests/clients with stripe-go, which knows no more than another base address.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/stripe/stripe-go/v85"
)

// main prints one JSON line for the client and one for each step; the status is 1 when a step failed.
func main() {
	report(line{Client: "stripe-go", Version: stripe.ClientVersion})
	s := newScenario()
	status := 0
	for _, step := range []struct {
		name string
		play func()
	}{
		{"meter_life", s.meterLife},
		{"customer", s.customerMade},
		{"session", s.session},
		{"stream", s.stream},
		{"totals", s.waitForTotal},
		{"duplicates", s.duplicates},
		{"synchronous", s.synchronous},
		{"idempotency", s.idempotency},
		{"cancel", s.cancel},
		{"expired", s.expired},
		{"refused", s.refused},
	} {
		if err := attempt(step.play); err != nil {
			report(line{Step: step.name, Outcome: "failed", Detail: err.Error()})
			status = 1
			s.takeTheTotalAsItIs()
		} else {
			report(line{Step: step.name, Outcome: "passed"})
		}
	}
	os.Exit(status)
}

// line is what is printed: of the client, or of a step.
type line struct {
	Client  string `json:"client,omitempty"`
	Version string `json:"version,omitempty"`
	Step    string `json:"step,omitempty"`
	Outcome string `json:"outcome,omitempty"`
	Detail  string `json:"detail,omitempty"`
}

func report(printed line) {
	must(0, json.NewEncoder(os.Stdout).Encode(printed))
}

// attempt turns whatever a step panics with, which is how must, check and raised end it, into an error.
func attempt(play func()) (failure error) {
	defer func() {
		if fault := recover(); fault != nil {
			failure = fmt.Errorf("%v", fault)
		}
	}()
	play()
	return nil
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func check(holds bool, otherwise string, values ...any) {
	if !holds {
		panic(fmt.Sprintf(otherwise, values...))
	}
}

func same[T comparable](got, wanted T) {
	check(got == wanted, "%v, not %v", got, wanted)
}

// raised gives the error of a call as the type that the client has for it.
func raised[E error](err error) E {
	var typed E
	check(errors.As(err, &typed), "%T (%v), not %T", err, err, typed)
	return typed
}
