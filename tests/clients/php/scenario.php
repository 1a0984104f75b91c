<?php

// Metering with stripe-php against Streamgauge: the official library, pointed at another server, otherwise untouched.
// Prints one JSON line for the client, then one for each step; exits 1 when a step failed.
// Usage: php scenario.php PATH_OF_STRIPE_PHP/init.php

declare(strict_types=1);

use Stripe\Exception\ApiErrorException;
use Stripe\Exception\IdempotencyException;
use Stripe\Exception\InvalidRequestException;
use Stripe\Exception\TemporarySessionExpiredException;
use Stripe\StripeClient;

// A warning or a deprecation counts as a failure, of this program or of the library.
set_error_handler(function (int $level, string $message, string $file, int $line) {
    throw new ErrorException($message, 0, $level, $file, $line);
});

require $argv[1];

const VISIBLE_WITHIN_SECONDS = 20;
const STEPS = [
    'meter_life', 'customer', 'session', 'stream', 'totals', 'duplicates',
    'synchronous', 'idempotency', 'cancel', 'expired', 'refused',
];

// One server takes both the calls and the stream. The key of the stream is the token of a session.
function connect(string $key): StripeClient
{
    $url = getenv('STREAMGAUGE_URL');

    return new StripeClient(['api_key' => $key, 'api_base' => $url, 'meter_events_base' => $url]);
}

function check(string $what, bool $condition): void
{
    if (!$condition) {
        throw new UnexpectedValueException($what);
    }
}

/** Make the call, which has to be refused, and return the error; an error of another class is thrown as it is. */
function refusedAs(string $class, callable $call): ApiErrorException
{
    try {
        $call();
    } catch (ApiErrorException $error) {
        if ($error instanceof $class) {
            return $error;
        }

        throw $error;
    }

    throw new UnexpectedValueException("not refused; expected {$class}");
}

/** The steps, each a method of the same name. */
final class Scenario
{
    private string $run;
    private int $started;
    private StripeClient $client;
    private StripeClient $stream;
    private string $meter;
    private string $customer;
    private array $events;

    /** What the customer's total has to be. A float is exact here: every value is a multiple of a half. */
    private float $expected = 0.0;

    public function __construct()
    {
        $this->run = 'php_' . getenv('STREAMGAUGE_RUN');
        $this->started = time();
        $this->client = connect(getenv('STREAMGAUGE_KEY'));
    }

    public function meter_life(): void
    {
        $meters = $this->client->billing->meters;
        $this->meter = $meters->create([
            'display_name' => 'Tokens',
            'event_name' => $this->run,
            'default_aggregation' => ['formula' => 'sum'],
        ])->id;
        check('a retrieved meter is the created one', $meters->retrieve($this->meter)->event_name === $this->run);

        $meters->update($this->meter, ['display_name' => 'Tokens used']);
        check('the new name is kept', $meters->retrieve($this->meter)->display_name === 'Tokens used');
        $listed = [];
        foreach ($meters->all(['limit' => 100])->autoPagingIterator() as $meter) {
            $listed[] = $meter->id;
        }
        check('the list has the meter', in_array($this->meter, $listed, true));

        $meters->deactivate($this->meter);
        $inactive = $meters->retrieve($this->meter);
        check('a deactivated meter is inactive', $inactive->status === 'inactive');
        check('deactivated_at is set', is_int($inactive->status_transitions->deactivated_at));
        check('a reactivated meter is active', $meters->reactivate($this->meter)->status === 'active');
    }

    public function customer(): void
    {
        $this->customer = $this->client->customers->create(['name' => 'Ada', 'metadata' => ['run' => $this->run]])->id;
        check('a customer has an id', str_starts_with($this->customer, 'cus_'));
    }

    public function session(): void
    {
        $session = $this->client->v2->billing->meterEventSession->create();
        $expected = (new DateTimeImmutable($session->created))->modify('+15 minutes');
        check('livemode is the boolean false', $session->livemode === false);
        check('a session lasts 15 minutes', new DateTimeImmutable($session->expires_at) == $expected);
        check('the token is not empty', $session->authentication_token !== '');
        $this->stream = connect($session->authentication_token);
    }

    public function stream(): void
    {
        $values = ['1', '2', '0.5'];
        $this->events = array_map(
            fn (int $n) => $this->dated($this->event("stream-{$n}", $values[$n % 3]), $n),
            range(0, 249)
        );
        $this->sendAll($this->events);
        foreach ($this->events as $event) {
            $this->expected += (float) $event['payload']['value'];
        }
    }

    public function totals(): void
    {
        check('events were streamed', $this->expected > 0);
        $this->totalBecomesExpected();
    }

    public function duplicates(): void
    {
        $this->sendAll($this->events);
        $this->streamOne('after-duplicates');
        $this->totalBecomesExpected();
    }

    public function synchronous(): void
    {
        $v1 = $this->client->billing->meterEvents;
        $v2 = $this->client->v2->billing->meterEvents;

        $one = $this->event('v1', '2');
        check('v1 gives the identifier back', $v1->create($one)->identifier === $one['identifier']);
        $this->expected += 2;
        $error = refusedAs(InvalidRequestException::class, fn () => $v1->create($one));
        $said = $error->getMessage();
        check("v1 says 400: {$said}", $error->getHttpStatus() === 400);
        check("v1 says invalid_request_error: {$said}", $error->getError()->type === 'invalid_request_error');
        check("v1 names it: {$said}", $said === "An event already exists with identifier {$one['identifier']}.");

        $two = $this->event('v2', '0.5');
        check('v2 gives the identifier back', $v2->create($two)->identifier === $two['identifier']);
        $this->expected += 0.5;
        $error = refusedAs(InvalidRequestException::class, fn () => $v2->create($two));
        $said = $error->getMessage();
        check("v2 says 400: {$said}", $error->getHttpStatus() === 400);
        check("v2 says duplicate_meter_event: {$said}", $error->getStripeCode() === 'duplicate_meter_event');

        $this->totalBecomesExpected();
    }

    public function idempotency(): void
    {
        $meterEvents = $this->client->billing->meterEvents;
        $sameRequest = ['idempotency_key' => "{$this->run}-key"];

        $first = $meterEvents->create($this->event('idempotent', '1'), $sameRequest);
        $this->expected += 1;
        $again = $meterEvents->create($this->event('idempotent', '1'), $sameRequest);
        check('the answer is replayed', $first->toArray() === $again->toArray());

        $error = refusedAs(
            IdempotencyException::class,
            fn () => $meterEvents->create($this->event('idempotent', '2'), $sameRequest)
        );
        check('the type is idempotency_error', $error->getError()->type === 'idempotency_error');
        $this->totalBecomesExpected();
    }

    public function cancel(): void
    {
        $v1 = $this->client->billing->meterEventAdjustments;
        $v2 = $this->client->v2->billing->meterEventAdjustments;
        foreach ([['v1', $v1, 2.0], ['v2', $v2, 0.5]] as [$name, $adjustments, $value]) {
            $adjustment = $adjustments->create([
                'type' => 'cancel',
                'event_name' => $this->run,
                'cancel' => ['identifier' => $this->identifier($name)],
            ]);
            check("{$name}: {$adjustment->status}", in_array($adjustment->status, ['pending', 'complete'], true));
            $this->expected -= $value;
        }
        $this->totalBecomesExpected();
    }

    public function expired(): void
    {
        $late = connect(getenv('STREAMGAUGE_EXPIRED_TOKEN'))->v2->billing->meterEventStream;
        refusedAs(
            TemporarySessionExpiredException::class,
            fn () => $late->create(['events' => [$this->event('expired', '1')]])
        );
    }

    public function refused(): void
    {
        $tooMany = array_map(fn (int $n) => $this->event("too-many-{$n}", '1'), range(0, 100));
        refusedAs(
            InvalidRequestException::class,
            fn () => $this->stream->v2->billing->meterEventStream->create(['events' => $tooMany])
        );
        $this->streamOne('after-refused');
        $this->totalBecomesExpected();
    }

    private function identifier(string $name): string
    {
        return "{$this->run}-{$name}";
    }

    private function event(string $name, string $value): array
    {
        return [
            'event_name' => $this->run,
            'identifier' => $this->identifier($name),
            'payload' => ['stripe_customer_id' => $this->customer, 'value' => $value],
        ];
    }

    /** Every other event says when it happened: a string, for json_encode makes an object of a DateTime. */
    private function dated(array $event, int $number): array
    {
        $now = (new DateTimeImmutable())->format(DATE_RFC3339_EXTENDED);

        return $number % 2 === 0 ? $event + ['timestamp' => $now] : $event;
    }

    private function sendAll(array $events): void
    {
        foreach (array_chunk($events, 100) as $batch) {
            $this->stream->v2->billing->meterEventStream->create(['events' => $batch]);
        }
    }

    /** The log keeps order: once this event is in the total, so is whatever was wrongly counted before it. */
    private function streamOne(string $name): void
    {
        $this->sendAll([$this->event($name, '1')]);
        $this->expected += 1;
    }

    private function totalBecomesExpected(): void
    {
        $giveUp = microtime(true) + VISIBLE_WITHIN_SECONDS;
        while (($total = $this->readTotal()) !== $this->expected) {
            check("the total is {$total}, not {$this->expected}", microtime(true) < $giveUp);
            usleep(100_000);
        }
    }

    /** Summaries take whole minutes: from the one before the start to the one after the end of this program. */
    private function readTotal(): float
    {
        $summaries = $this->client->billing->meters->allEventSummaries($this->meter, [
            'customer' => $this->customer,
            'start_time' => (intdiv($this->started, 60) - 1) * 60,
            'end_time' => (intdiv(time(), 60) + 2) * 60,
        ]);

        return (float) array_sum(array_map(fn ($summary) => $summary->aggregated_value, $summaries->data));
    }
}

echo json_encode(['client' => 'stripe-php', 'version' => Stripe\Stripe::VERSION]), "\n";
$scenario = new Scenario();
$failures = 0;
foreach (STEPS as $step) {
    $line = ['step' => $step, 'outcome' => 'passed'];

    try {
        $scenario->{$step}();
    } catch (Throwable $error) {
        $line = ['step' => $step, 'outcome' => 'failed', 'detail' => get_class($error) . ': ' . $error->getMessage()];
        ++$failures;
    }
    echo json_encode($line, JSON_UNESCAPED_SLASHES), "\n";
}
exit($failures === 0 ? 0 : 1);
