// The scenario of tests/clients with the Stripe CLI: real commands, which know no more than another --api-base.
//
//	scenario STRIPE     STRIPE is the path of the CLI's program
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// notOffered is what a step panics with when the CLI has no such call; it says why.
type notOffered string

// main prints one JSON line for the client and one for each step; the status is 1 when a step failed.
func main() {
	program := must(filepath.Abs(os.Args[1]))
	home := must(os.MkdirTemp("", "stripe-cli-")) // the user's own configuration stays unread and unwritten
	status := play(newScenario(&cli{program: program, home: home}))
	must(0, os.RemoveAll(home))
	os.Exit(status)
}

func play(s *scenario) (status int) {
	version := strings.Fields(string(s.cli.run("--version"))) // "stripe version 1.50.4"
	report(line{Client: "stripe-cli", Version: version[len(version)-1]})
	for _, step := range []struct {
		name string
		play func()
	}{
		{"meter_life", s.meterLife},
		{"customer", s.customerMade},
		{"session", s.session},
		{"stream", s.stream},
		{"totals", s.totals},
		{"duplicates", s.duplicates},
		{"synchronous", s.synchronous},
		{"idempotency", s.idempotency},
		{"cancel", s.cancel},
		{"expired", s.stream},
		{"refused", s.stream},
	} {
		outcome := line{Step: step.name, Outcome: "passed"}
		switch end := attempt(step.play).(type) {
		case nil:
		case notOffered:
			outcome.Outcome, outcome.Detail = "not offered", string(end)
		default:
			outcome.Outcome, outcome.Detail = "failed", fmt.Sprint(end)
			status = 1
			s.takeTheTotalAsItIs()
		}
		report(outcome)
	}
	return status
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

// attempt gives whatever a step panics with, which is how must, check and notOffered end it; nil when it came through.
func attempt(play func()) (end any) {
	defer func() { end = recover() }()
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
