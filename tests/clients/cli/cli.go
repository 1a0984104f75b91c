package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"strings"
)

// cli runs the Stripe CLI with nothing of this machine's environment, and with its telemetry off.
type cli struct {
	program, home string
}

// run gives what a command prints. It panics with what the command complains of when its exit status is not 0.
func (c *cli) run(arguments ...string) []byte {
	command := exec.Command(c.program, arguments...)
	command.Env = []string{
		"HOME=" + c.home,
		"XDG_CONFIG_HOME=" + c.home,
		"STRIPE_API_KEY=" + os.Getenv("STREAMGAUGE_KEY"),
		"STRIPE_CLI_TELEMETRY_OPTOUT=1",
	}
	var complaint strings.Builder
	command.Stderr = &complaint
	printed, err := command.Output()
	check(err == nil, "stripe %s: %v: %s%s", strings.Join(arguments, " "), err, printed, &complaint)
	return printed
}

// call runs a command that is one request to Streamgauge, and gives the JSON that it prints.
func (c *cli) call(arguments ...string) []byte {
	// The CLI takes this address for what it is, http://127.0.0.1 and a port; it refuses "localhost".
	return c.run(append(arguments, "--api-base", os.Getenv("STREAMGAUGE_URL"))...)
}

// object is what the steps read of the objects of v1 and v2; a step that reads more has a type of its own.
type object struct {
	ID                string
	Object            string
	Status            string
	Name              string
	Identifier        string
	DisplayName       string            `json:"display_name"`
	EventName         string            `json:"event_name"`
	StatusTransitions map[string]*int64 `json:"status_transitions"`
}

// refusal is the error of v1 and of v2.
type refusal struct {
	Type    string
	Code    string
	Message string
}

// answered reads the object of a request that succeeded.
//
// The CLI prints a refusal just as it prints an object, on standard output and with the exit status 0: a script has to
// look for "error" in what it reads. Only a key that is not accepted (401) makes a command fail.
func answered[T any](printed []byte) T {
	var envelope struct{ Error *refusal }
	must(0, json.Unmarshal(printed, &envelope))
	check(envelope.Error == nil, "%s", printed)
	var read T
	must(0, json.Unmarshal(printed, &read))
	return read
}

// refused reads the error of a request that was not to succeed.
func refused(printed []byte) refusal {
	var envelope struct{ Error *refusal }
	must(0, json.Unmarshal(printed, &envelope))
	check(envelope.Error != nil, "not refused: %s", printed)
	return *envelope.Error
}
