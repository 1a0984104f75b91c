import com.google.gson.JsonObject;
import com.stripe.Stripe;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Objects;

/** Plays the scenario and prints one JSON line for the client and one for each step; the status is 1 when one failed. */
public final class Main {
  /** A step, or a call that is to be refused. */
  interface Call {
    void run() throws Exception;
  }

  public static void main(String[] arguments) {
    report("client", "stripe-java", "version", Stripe.VERSION);
    var scenario = new Scenario();
    Map<String, Call> steps = new LinkedHashMap<>();
    steps.put("meter_life", scenario::meterLife);
    steps.put("customer", scenario::customerMade);
    steps.put("session", scenario::session);
    steps.put("stream", scenario::stream);
    steps.put("totals", scenario::waitForTotal);
    steps.put("duplicates", scenario::duplicates);
    steps.put("synchronous", scenario::synchronous);
    steps.put("idempotency", scenario::idempotency);
    steps.put("cancel", scenario::cancel);
    steps.put("expired", scenario::expired);
    steps.put("refused", scenario::refused);

    int status = 0;
    for (var step : steps.entrySet()) {
      try {
        step.getValue().run();
        report("step", step.getKey(), "outcome", "passed");
      } catch (Exception | AssertionError fault) {
        status = 1;
        report("step", step.getKey(), "outcome", "failed", "detail", fault.toString());
        fault.printStackTrace();
        scenario.takeTheTotalAsItIs();
      }
    }
    System.exit(status);
  }

  /** Prints one JSON object of names and values in turn. */
  static void report(String... namesAndValues) {
    var line = new JsonObject();
    for (int at = 0; at < namesAndValues.length; at += 2) {
      line.addProperty(namesAndValues[at], namesAndValues[at + 1]);
    }
    System.out.println(line);
  }

  static void check(boolean holds, String otherwise) {
    if (!holds) {
      throw new AssertionError(otherwise);
    }
  }

  static void same(Object got, Object wanted) {
    check(Objects.equals(got, wanted), got + ", not " + wanted);
  }

  /** The exception that a call ends with, which must be the one that the client has for it. */
  static <E extends Exception> E raised(Class<E> kind, Call call) throws Exception {
    try {
      call.run();
    } catch (Exception exception) {
      if (kind.isInstance(exception)) {
        return kind.cast(exception);
      }
      throw exception;
    }
    throw new AssertionError("no " + kind.getSimpleName() + " was raised");
  }
}
