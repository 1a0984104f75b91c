import com.stripe.StripeClient;
import com.stripe.exception.IdempotencyException;
import com.stripe.exception.InvalidRequestException;
import com.stripe.exception.StripeException;
import com.stripe.exception.TemporarySessionExpiredException;
import com.stripe.model.billing.Meter;
import com.stripe.model.billing.MeterEvent;
import com.stripe.model.billing.MeterEventSummary;
import com.stripe.net.RequestOptions;
import com.stripe.param.CustomerCreateParams;
import com.stripe.param.billing.MeterCreateParams;
import com.stripe.param.billing.MeterEventAdjustmentCreateParams;
import com.stripe.param.billing.MeterEventCreateParams;
import com.stripe.param.billing.MeterEventSummaryListParams;
import com.stripe.param.billing.MeterListParams;
import com.stripe.param.billing.MeterUpdateParams;
import com.stripe.param.v2.billing.MeterEventStreamCreateParams;
import com.stripe.param.v2.billing.MeterEventStreamCreateParams.Event;
import java.math.BigDecimal;
import java.time.Duration;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;

/**
 * The scenario of tests/clients with stripe-java, which knows no more than another base address.
 *
 * <p>Steps in their order; {@code expected} is what the customer's total must be, kept from step to step.
 */
final class Scenario {
  static final String RUN = System.getenv("STREAMGAUGE_RUN");
  static final String EVENT_NAME = RUN + "_units";
  static final List<String> VALUES = List.of("1", "2", "0.5"); // in turn
  static final int EVENTS = 250;
  static final int BATCH_EVENTS_MAX = 100;
  static final Duration POLL_MAX = Duration.ofSeconds(20);
  static final Set<String> ADJUSTED = Set.of("pending", "complete");

  private final Instant begun = Instant.now();
  private final StripeClient client = connect(System.getenv("STREAMGAUGE_KEY"));
  private StripeClient streaming = client;
  private final List<Event> events = new ArrayList<>();
  private String meter = "";
  private String customer = "";
  private BigDecimal expected = BigDecimal.ZERO;

  /** A client whose every call, the stream included, goes to Streamgauge. */
  static StripeClient connect(String credential) {
    String url = System.getenv("STREAMGAUGE_URL");
    return StripeClient.builder().setApiKey(credential).setApiBase(url).setMeterEventsBase(url).build();
  }

  void meterLife() throws StripeException {
    var meters = client.v1().billing().meters();
    Meter made =
        meters.create(
            MeterCreateParams.builder()
                .setDisplayName("Units")
                .setEventName(EVENT_NAME)
                .setDefaultAggregation(
                    MeterCreateParams.DefaultAggregation.builder()
                        .setFormula(MeterCreateParams.DefaultAggregation.Formula.SUM)
                        .build())
                .build());
    meter = made.getId();
    Main.same(made.getStatus(), "active");
    Main.same(meters.retrieve(meter).getEventName(), EVENT_NAME);
    var rename = MeterUpdateParams.builder().setDisplayName("Renamed").build();
    Main.same(meters.update(meter, rename).getDisplayName(), "Renamed");
    Main.same(meters.retrieve(meter).getDisplayName(), "Renamed");

    boolean found = false;
    for (Meter listed : meters.list(MeterListParams.builder().setLimit(100L).build()).autoPagingIterable()) {
      found |= listed.getId().equals(meter);
    }
    Main.check(found, meter + " is not in the list");

    Meter stopped = meters.deactivate(meter);
    Main.same(stopped.getStatus(), "inactive");
    Main.check(stopped.getStatusTransitions().getDeactivatedAt() != null, "deactivated_at is not set");
    Main.same(meters.reactivate(meter).getStatus(), "active");
  }

  void customerMade() throws StripeException {
    var params = CustomerCreateParams.builder().setName("Ada").putMetadata("run", RUN).build();
    var made = client.v1().customers().create(params);
    customer = made.getId();
    Main.same(made.getName(), "Ada");
  }

  void session() throws StripeException {
    var made = client.v2().billing().meterEventSession().create();
    Main.same(made.getObject(), "v2.billing.meter_event_session");
    Main.same(made.getLivemode(), false);
    Main.same(Duration.between(made.getCreated(), made.getExpiresAt()), Duration.ofMinutes(15));
    Main.check(!made.getAuthenticationToken().isEmpty(), "the token is empty");
    streaming = connect(made.getAuthenticationToken());
  }

  void stream() throws StripeException {
    Instant moment = Instant.now().minus(Duration.ofMinutes(10));
    for (int number = 0; number < EVENTS; number++) {
      String value = VALUES.get(number % 3);
      var event = event("stream-" + number, value);
      events.add(number % 2 == 0 ? event.build() : event.setTimestamp(moment).build());
      expected = expected.add(new BigDecimal(value));
    }
    sendEvents();
  }

  void duplicates() throws Exception {
    sendEvents();
    // The log keeps the order of what one client sends: once this one is counted, so would the repeats be.
    send(streaming, List.of(event("new", "2").build()));
    expected = expected.add(new BigDecimal(2));
    waitForTotal();
  }

  void synchronous() throws Exception {
    var v1 = client.v1().billing().meterEvents();
    var v2 = client.v2().billing().meterEvents();
    var first = eventV1("v1", "1");
    var second =
        com.stripe.param.v2.billing.MeterEventCreateParams.builder()
            .setEventName(EVENT_NAME)
            .setIdentifier(RUN + "-v2")
            .putPayload("stripe_customer_id", customer)
            .putPayload("value", "2")
            .build();
    var made = v1.create(first);
    Main.same(made.getObject(), "billing.meter_event");
    Main.same(made.getIdentifier(), RUN + "-v1");
    var madeV2 = v2.create(second);
    Main.same(madeV2.getObject(), "v2.billing.meter_event");
    Main.same(madeV2.getIdentifier(), RUN + "-v2");
    expected = expected.add(new BigDecimal(3));

    // The client gives each call an Idempotency-Key of its own, so these are new requests.
    var refusal = Main.raised(InvalidRequestException.class, () -> v1.create(first));
    Main.same(refusal.getStatusCode(), 400);
    Main.same(refusal.getStripeError().getType(), "invalid_request_error");
    Main.same(refusal.getStripeError().getMessage(), "An event already exists with identifier " + RUN + "-v1.");
    var refusalV2 = Main.raised(InvalidRequestException.class, () -> v2.create(second));
    Main.same(refusalV2.getStatusCode(), 400);
    Main.same(refusalV2.getCode(), "duplicate_meter_event");
    waitForTotal();
  }

  void idempotency() throws Exception {
    var create = client.v1().billing().meterEvents();
    var options = RequestOptions.builder().setIdempotencyKey(RUN + "-key").build();
    MeterEvent made = create.create(eventV1("replayed", "2"), options);
    Main.same(create.create(eventV1("replayed", "2"), options), made);
    expected = expected.add(new BigDecimal(2));
    var refusal =
        Main.raised(IdempotencyException.class, () -> create.create(eventV1("replayed", "1"), options));
    Main.same(refusal.getStripeError().getType(), "idempotency_error");
    waitForTotal();
  }

  void cancel() throws Exception {
    var v1 =
        client.v1().billing().meterEventAdjustments()
            .create(
                MeterEventAdjustmentCreateParams.builder()
                    .setEventName(EVENT_NAME)
                    .setType(MeterEventAdjustmentCreateParams.Type.CANCEL)
                    .setCancel(
                        MeterEventAdjustmentCreateParams.Cancel.builder().setIdentifier(RUN + "-v1").build())
                    .build());
    Main.same(v1.getObject(), "billing.meter_event_adjustment");
    Main.check(ADJUSTED.contains(v1.getStatus()), "the status is " + v1.getStatus());
    var v2 =
        client.v2().billing().meterEventAdjustments()
            .create(
                com.stripe.param.v2.billing.MeterEventAdjustmentCreateParams.builder()
                    .setEventName(EVENT_NAME)
                    .setType(com.stripe.param.v2.billing.MeterEventAdjustmentCreateParams.Type.CANCEL)
                    .setCancel(
                        com.stripe.param.v2.billing.MeterEventAdjustmentCreateParams.Cancel.builder()
                            .setIdentifier(RUN + "-v2")
                            .build())
                    .build());
    Main.same(v2.getObject(), "v2.billing.meter_event_adjustment");
    Main.check(ADJUSTED.contains(v2.getStatus()), "the status is " + v2.getStatus());
    expected = expected.subtract(new BigDecimal(3));
    waitForTotal();
  }

  void expired() throws Exception {
    StripeClient late = connect(System.getenv("STREAMGAUGE_EXPIRED_TOKEN"));
    var events = List.of(event("late", "1").build());
    Main.raised(TemporarySessionExpiredException.class, () -> send(late, events));
  }

  void refused() throws Exception {
    List<Event> tooMany = new ArrayList<>();
    for (int number = 0; number <= BATCH_EVENTS_MAX; number++) {
      tooMany.add(event("refused-" + number, "1").build());
    }
    var refusal = Main.raised(InvalidRequestException.class, () -> send(streaming, tooMany));
    Main.same(refusal.getStatusCode(), 400);
    Main.same(refusal.getCode(), "invalid_fields");
    send(streaming, List.of(event("after", "2").build()));
    expected = expected.add(new BigDecimal(2));
    waitForTotal();
  }

  Event.Builder event(String name, String value) {
    return Event.builder()
        .setEventName(EVENT_NAME)
        .setIdentifier(RUN + "-" + name)
        .putPayload("stripe_customer_id", customer)
        .putPayload("value", value);
  }

  MeterEventCreateParams eventV1(String name, String value) {
    return MeterEventCreateParams.builder()
        .setEventName(EVENT_NAME)
        .setIdentifier(RUN + "-" + name)
        .setTimestamp(begun.getEpochSecond())
        .putPayload("stripe_customer_id", customer)
        .putPayload("value", value)
        .build();
  }

  static void send(StripeClient client, List<Event> events) throws StripeException {
    client.v2().billing().meterEventStream()
        .create(MeterEventStreamCreateParams.builder().addAllEvent(events).build());
  }

  void sendEvents() throws StripeException {
    for (int first = 0; first < events.size(); first += BATCH_EVENTS_MAX) {
      send(streaming, events.subList(first, Math.min(first + BATCH_EVENTS_MAX, events.size())));
    }
  }

  /** The customer's total over whole minutes, from an hour before the run until some time after now. */
  BigDecimal total() throws StripeException {
    var range =
        MeterEventSummaryListParams.builder()
            .setCustomer(customer)
            .setStartTime(minute(begun.minus(Duration.ofHours(1))))
            .setEndTime(minute(Instant.now().plus(Duration.ofMinutes(2))))
            .build();
    BigDecimal sum = BigDecimal.ZERO;
    for (MeterEventSummary summary : client.v1().billing().meters().eventSummaries().list(meter, range).getData()) {
      sum = sum.add(summary.getAggregatedValue());
    }
    return sum;
  }

  static long minute(Instant moment) {
    return moment.truncatedTo(ChronoUnit.MINUTES).getEpochSecond();
  }

  void waitForTotal() throws StripeException, InterruptedException {
    Instant deadline = Instant.now().plus(POLL_MAX);
    for (BigDecimal total = total(); total.compareTo(expected) != 0; total = total()) {
      Main.check(Instant.now().isBefore(deadline), "the total is " + total + ", not " + expected);
      Thread.sleep(100);
    }
  }

  /** Follows a failure, so that one fault fails one step. */
  void takeTheTotalAsItIs() {
    try {
      expected = total();
    } catch (StripeException noMeter) {
      expected = BigDecimal.ZERO; // the steps after this one will say so
    }
  }
}
