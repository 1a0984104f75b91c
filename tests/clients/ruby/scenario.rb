# frozen_string_literal: true

# Metering with stripe-ruby against Streamgauge: the official gem, pointed at another server and otherwise untouched.
# Prints one JSON line for the client, then one for each step; exits 1 when a step failed.

require "bigdecimal"
require "date"
require "json"
require "time"
require "stripe"

URL = ENV.fetch("STREAMGAUGE_URL")
RUN = "ruby_#{ENV.fetch('STREAMGAUGE_RUN')}"
VISIBLE_WITHIN_SECONDS = 20

STEPS = %i[
  meter_life customer session stream totals duplicates synchronous idempotency cancel expired refused
].freeze

# One server takes both the calls and the stream. The key of the stream is the token of a session.
def connect(key)
  Stripe::StripeClient.new(key, api_base: URL, meter_events_base: URL)
end

def check(what, condition)
  raise what unless condition
end

# Run the block, which has to be refused, and return the error; any other error is raised as it is.
def refused_as(error_class)
  yield
rescue error_class => e
  e
else
  raise "not refused; expected #{error_class}"
end

# The steps, in order. @expected is what the customer's total has to be: the sum of what was accepted so far.
class Scenario
  def initialize
    @client = connect(ENV.fetch("STREAMGAUGE_KEY"))
    @started = Time.now.to_i
    @expected = BigDecimal("0")
  end

  def meter_life
    meters = @client.v1.billing.meters
    @meter = meters.create(
      display_name: "Tokens", event_name: RUN, default_aggregation: { formula: "sum" }
    )
    check "a retrieved meter is the created one", meters.retrieve(@meter.id).event_name == RUN

    meters.update(@meter.id, display_name: "Tokens used")
    check "the new name is kept", meters.retrieve(@meter.id).display_name == "Tokens used"
    check "the list has the meter", meters.list(limit: 100).auto_paging_each.any? { |meter| meter.id == @meter.id }

    meters.deactivate(@meter.id)
    inactive = meters.retrieve(@meter.id)
    check "a deactivated meter is inactive", inactive.status == "inactive"
    check "deactivated_at is set", inactive.status_transitions.deactivated_at.is_a?(Integer)
    check "a reactivated meter is active", meters.reactivate(@meter.id).status == "active"
  end

  def customer
    @customer = @client.v1.customers.create(name: "Ada", metadata: { run: RUN })
    check "a customer has an id", @customer.id.start_with?("cus_")
  end

  def session
    session = @client.v2.billing.meter_event_session.create
    lifetime = Time.iso8601(session.expires_at) - Time.iso8601(session.created)
    check "livemode is the boolean false", session.livemode == false
    check "a session lasts 15 minutes, not #{lifetime} s", lifetime == 15 * 60
    check "the token is not empty", !session.authentication_token.empty?
    @stream = connect(session.authentication_token).v2.billing.meter_event_stream
  end

  def stream
    @events = Array.new(250) { |n| dated(event("stream-#{n}", %w[1 2 0.5][n % 3]), n) }
    send_all(@events)
    @expected += @events.sum { |event| BigDecimal(event[:payload][:value]) }
  end

  def totals
    check "events were streamed", @expected.positive?
    total_becomes_expected
  end

  def duplicates
    send_all(@events)
    stream_one("after-duplicates")
    total_becomes_expected
  end

  def synchronous
    v1 = @client.v1.billing.meter_events
    v2 = @client.v2.billing.meter_events

    one = event("v1", "2")
    check "v1 gives the identifier back", v1.create(one).identifier == one[:identifier]
    @expected += 2
    error = refused_as(Stripe::InvalidRequestError) { v1.create(one) }
    check "v1 says 400 invalid_request_error: #{error.message}",
          error.http_status == 400 && error.error.type == "invalid_request_error"
    check "v1 names the identifier: #{error.message}",
          error.message == "An event already exists with identifier #{one[:identifier]}."

    two = event("v2", "0.5")
    check "v2 gives the identifier back", v2.create(two).identifier == two[:identifier]
    @expected += BigDecimal("0.5")
    error = refused_as(Stripe::InvalidRequestError) { v2.create(two) }
    check "v2 says 400 duplicate_meter_event: #{error.message}",
          error.http_status == 400 && error.code == "duplicate_meter_event"

    total_becomes_expected
  end

  def idempotency
    meter_events = @client.v1.billing.meter_events
    same_request = { idempotency_key: "#{RUN}-key" }

    first = meter_events.create(event("idempotent", "1"), same_request)
    @expected += 1
    again = meter_events.create(event("idempotent", "1"), same_request)
    check "the answer is replayed", first.to_hash == again.to_hash

    error = refused_as(Stripe::IdempotencyError) { meter_events.create(event("idempotent", "2"), same_request) }
    check "the type is idempotency_error", error.error.type == "idempotency_error"
    total_becomes_expected
  end

  def cancel
    { "v1" => "2", "v2" => "0.5" }.each do |version, value|
      adjustments = @client.public_send(version).billing.meter_event_adjustments
      adjustment = adjustments.create(
        type: "cancel", event_name: RUN, cancel: { identifier: identifier(version) }
      )
      check "#{version} cancels: #{adjustment.status}", %w[pending complete].include?(adjustment.status)
      @expected -= BigDecimal(value)
    end
    total_becomes_expected
  end

  def expired
    late = connect(ENV.fetch("STREAMGAUGE_EXPIRED_TOKEN")).v2.billing.meter_event_stream
    refused_as(Stripe::TemporarySessionExpiredError) { late.create(events: [event("expired", "1")]) }
  end

  def refused
    too_many = Array.new(101) { |n| event("too-many-#{n}", "1") }
    refused_as(Stripe::InvalidRequestError) { @stream.create(events: too_many) }
    stream_one("after-refused")
    total_becomes_expected
  end

  private

  def identifier(name)
    "#{RUN}-#{name}"
  end

  def event(name, value)
    { event_name: RUN, identifier: identifier(name), payload: { stripe_customer_id: @customer.id, value: value } }
  end

  # Every other event says when it happened. As JSON a DateTime is RFC 3339; a Time is not, it needs #iso8601 first.
  def dated(event, number)
    number.even? ? event.merge(timestamp: DateTime.now) : event
  end

  def send_all(events)
    events.each_slice(100) { |batch| @stream.create(events: batch) }
  end

  # The log keeps order: once this event is in the total, so is whatever was wrongly counted before it.
  def stream_one(name)
    @stream.create(events: [event(name, "1")])
    @expected += 1
  end

  def total_becomes_expected
    give_up = Process.clock_gettime(Process::CLOCK_MONOTONIC) + VISIBLE_WITHIN_SECONDS
    until (total = read_total) == @expected
      late = Process.clock_gettime(Process::CLOCK_MONOTONIC) > give_up
      raise "the total is #{total.to_s('F')}, not #{@expected.to_s('F')}" if late

      sleep 0.1
    end
  end

  # Summaries take whole minutes: from the one before the start to the one after the end of this program.
  def read_total
    first_minute = (@started / 60 - 1) * 60
    summaries = @client.v1.billing.meters.event_summaries.list(
      @meter.id, customer: @customer.id, start_time: first_minute, end_time: (Time.now.to_i / 60 + 2) * 60
    )
    summaries.data.sum(BigDecimal("0")) { |summary| BigDecimal(summary.aggregated_value.to_s) }
  end
end

$stdout.sync = true
puts JSON.generate(client: "stripe-ruby", version: Stripe::VERSION)
scenario = Scenario.new
failures = STEPS.count do |step|
  scenario.public_send(step)
  puts JSON.generate(step: step, outcome: "passed")
  false
rescue StandardError => e
  puts JSON.generate(step: step, outcome: "failed", detail: "#{e.class}: #{e.message}")
  true
end
exit failures.zero?
