// Metering with stripe-dotnet against Streamgauge: the official package, pointed at another server, else untouched.
// Prints one JSON line for the client, then one for each step; exits 1 when a step failed.

using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.Globalization;
using System.Linq;
using System.Net;
using System.Threading;
using Newtonsoft.Json;
using Stripe;
using V1 = Stripe.Billing;
using V2 = Stripe.V2.Billing;

public static class Program
{
    public static int Main()
    {
        Print(new { client = "stripe-dotnet", version = StripeConfiguration.StripeNetVersion });
        var scenario = new Scenario();
        var steps = new (string Name, Action Run)[]
        {
            ("meter_life", scenario.MeterLife),
            ("customer", scenario.Customer),
            ("session", scenario.Session),
            ("stream", scenario.Stream),
            ("totals", scenario.Totals),
            ("duplicates", scenario.Duplicates),
            ("synchronous", scenario.Synchronous),
            ("idempotency", scenario.Idempotency),
            ("cancel", scenario.Cancel),
            ("expired", scenario.Expired),
            ("refused", scenario.Refused),
        };
        return steps.Count(step => !Passes(step.Name, step.Run)) == 0 ? 0 : 1;
    }

    private static bool Passes(string step, Action run)
    {
        try
        {
            run();
        }
        catch (Exception error)
        {
            Print(new { step, outcome = "failed", detail = $"{error.GetType()}: {error.Message}" });
            return false;
        }

        Print(new { step, outcome = "passed" });
        return true;
    }

    private static void Print(object line)
    {
        Console.WriteLine(JsonConvert.SerializeObject(line));
    }
}

/// <summary>The steps, in the order in which Main names them.</summary>
internal sealed class Scenario
{
    private static readonly TimeSpan VisibleWithin = TimeSpan.FromSeconds(20);
    private static readonly string[] Values = { "1", "2", "0.5" };

    private readonly string run = "dotnet_" + Setting("STREAMGAUGE_RUN");
    private readonly DateTime started = DateTime.UtcNow;
    private readonly StripeClient client = Connect(Setting("STREAMGAUGE_KEY"));

    private string meter;
    private string customer;
    private V2.MeterEventStreamService stream;
    private List<V2.MeterEventStreamCreateEventOptions> events;

    // What the customer's total has to be: the sum of what was accepted so far.
    private decimal expected;

    public void MeterLife()
    {
        var meters = this.client.V1.Billing.Meters;
        this.meter = meters.Create(new V1.MeterCreateOptions
        {
            DisplayName = "Tokens",
            EventName = this.run,
            DefaultAggregation = new V1.MeterDefaultAggregationOptions { Formula = "sum" },
        }).Id;
        Check("a retrieved meter is the created one", meters.Get(this.meter).EventName == this.run);

        meters.Update(this.meter, new V1.MeterUpdateOptions { DisplayName = "Tokens used" });
        Check("the new name is kept", meters.Get(this.meter).DisplayName == "Tokens used");
        var listed = meters.ListAutoPaging(new V1.MeterListOptions { Limit = 100 });
        Check("the list has the meter", listed.Any(listedMeter => listedMeter.Id == this.meter));

        meters.Deactivate(this.meter);
        var inactive = meters.Get(this.meter);
        Check("a deactivated meter is inactive", inactive.Status == "inactive");
        Check("deactivated_at is set", inactive.StatusTransitions.DeactivatedAt != null);
        Check("a reactivated meter is active", meters.Reactivate(this.meter).Status == "active");
    }

    public void Customer()
    {
        this.customer = this.client.V1.Customers.Create(new CustomerCreateOptions { Name = "Ada" }).Id;
        Check("a customer has an id", this.customer.StartsWith("cus_", StringComparison.Ordinal));
    }

    public void Session()
    {
        var session = this.client.V2.Billing.MeterEventSession.Create(new V2.MeterEventSessionCreateOptions());
        Check("livemode is false", !session.Livemode);
        Check("a session lasts 15 minutes", session.ExpiresAt - session.Created == TimeSpan.FromMinutes(15));
        Check("the token is not empty", !string.IsNullOrEmpty(session.AuthenticationToken));
        this.stream = Connect(session.AuthenticationToken).V2.Billing.MeterEventStream;
    }

    public void Stream()
    {
        this.events = Enumerable.Range(0, 250).Select(n => this.Event($"stream-{n}", Values[n % 3])).ToList();

        // Every other event says when it happened; the client writes a DateTime as RFC 3339.
        foreach (var dated in this.events.Where((_, n) => n % 2 == 0))
        {
            dated.Timestamp = DateTime.UtcNow;
        }

        this.SendAll();
        this.expected += this.events.Sum(sent => decimal.Parse(sent.Payload["value"], CultureInfo.InvariantCulture));
    }

    public void Totals()
    {
        Check("events were streamed", this.expected > 0);
        this.TotalBecomesExpected();
    }

    public void Duplicates()
    {
        this.SendAll();
        this.StreamOne("after-duplicates");
        this.TotalBecomesExpected();
    }

    public void Synchronous()
    {
        var v1 = this.client.V1.Billing.MeterEvents;
        var v2 = this.client.V2.Billing.MeterEvents;

        var one = this.V1Event("v1", "2");
        Check("v1 gives the identifier back", v1.Create(one).Identifier == one.Identifier);
        this.expected += 2;
        var error = RefusedAs<StripeException>(() => v1.Create(one));
        Check($"v1 says 400: {error.Message}", error.HttpStatusCode == HttpStatusCode.BadRequest);
        Check($"v1 says invalid_request_error: {error.Message}", error.StripeError.Type == "invalid_request_error");
        Check(
            $"v1 names the identifier: {error.Message}",
            error.Message == $"An event already exists with identifier {one.Identifier}.");

        var two = new V2.MeterEventCreateOptions
        {
            EventName = this.run,
            Identifier = this.Identifier("v2"),
            Payload = this.Payload("0.5"),
        };
        Check("v2 gives the identifier back", v2.Create(two).Identifier == two.Identifier);
        this.expected += 0.5m;
        error = RefusedAs<StripeException>(() => v2.Create(two));
        Check($"v2 says 400: {error.Message}", error.HttpStatusCode == HttpStatusCode.BadRequest);
        Check($"v2 says duplicate_meter_event: {error.Message}", error.StripeError.Code == "duplicate_meter_event");

        this.TotalBecomesExpected();
    }

    public void Idempotency()
    {
        var meterEvents = this.client.V1.Billing.MeterEvents;
        var sameRequest = new RequestOptions { IdempotencyKey = $"{this.run}-key" };

        var first = meterEvents.Create(this.V1Event("idempotent", "1"), sameRequest);
        this.expected += 1;
        var again = meterEvents.Create(this.V1Event("idempotent", "1"), sameRequest);
        Check("the answer is replayed", first.StripeResponse.Content == again.StripeResponse.Content);

        // This client has no class of its own for it: the type tells.
        var error = RefusedAs<StripeException>(
            () => meterEvents.Create(this.V1Event("idempotent", "2"), sameRequest));
        Check($"the type is idempotency_error: {error.Message}", error.StripeError.Type == "idempotency_error");
        this.TotalBecomesExpected();
    }

    public void Cancel()
    {
        var byV1 = this.client.V1.Billing.MeterEventAdjustments.Create(new V1.MeterEventAdjustmentCreateOptions
        {
            Type = "cancel",
            EventName = this.run,
            Cancel = new V1.MeterEventAdjustmentCancelOptions { Identifier = this.Identifier("v1") },
        });
        Check($"v1 cancels: {byV1.Status}", byV1.Status == "pending" || byV1.Status == "complete");
        this.expected -= 2;

        var byV2 = this.client.V2.Billing.MeterEventAdjustments.Create(new V2.MeterEventAdjustmentCreateOptions
        {
            Type = "cancel",
            EventName = this.run,
            Cancel = new V2.MeterEventAdjustmentCreateCancelOptions { Identifier = this.Identifier("v2") },
        });
        Check($"v2 cancels: {byV2.Status}", byV2.Status == "pending" || byV2.Status == "complete");
        this.expected -= 0.5m;

        this.TotalBecomesExpected();
    }

    public void Expired()
    {
        var late = Connect(Setting("STREAMGAUGE_EXPIRED_TOKEN")).V2.Billing.MeterEventStream;
        RefusedAs<Stripe.V2.TemporarySessionExpiredException>(() => late.Create(Batch(this.Event("expired", "1"))));
    }

    public void Refused()
    {
        var tooMany = Enumerable.Range(0, 101).Select(n => this.Event($"too-many-{n}", "1")).ToArray();
        var error = RefusedAs<StripeException>(() => this.stream.Create(Batch(tooMany)));
        Check($"101 events are 400: {error.Message}", error.HttpStatusCode == HttpStatusCode.BadRequest);
        this.StreamOne("after-refused");
        this.TotalBecomesExpected();
    }

    // One server takes both the calls and the stream. The key of the stream is the token of a session.
    private static StripeClient Connect(string key)
    {
        var url = Setting("STREAMGAUGE_URL");
        return new StripeClient(new StripeClientOptions { ApiKey = key, ApiBase = url, MeterEventsBase = url });
    }

    private static string Setting(string name)
    {
        return Environment.GetEnvironmentVariable(name) ?? throw new InvalidOperationException($"{name} is not set");
    }

    private static void Check(string what, bool condition)
    {
        if (!condition)
        {
            throw new InvalidOperationException(what);
        }
    }

    // Make the call, which has to be refused, and return the error; an error of another class goes its way.
    private static T RefusedAs<T>(Action call)
        where T : StripeException
    {
        try
        {
            call();
        }
        catch (T error)
        {
            return error;
        }

        throw new InvalidOperationException($"not refused; expected {typeof(T)}");
    }

    private static V2.MeterEventStreamCreateOptions Batch(params V2.MeterEventStreamCreateEventOptions[] batch)
    {
        return new V2.MeterEventStreamCreateOptions { Events = batch.ToList() };
    }

    private string Identifier(string name)
    {
        return $"{this.run}-{name}";
    }

    private Dictionary<string, string> Payload(string value)
    {
        return new Dictionary<string, string> { ["stripe_customer_id"] = this.customer, ["value"] = value };
    }

    private V2.MeterEventStreamCreateEventOptions Event(string name, string value)
    {
        return new V2.MeterEventStreamCreateEventOptions
        {
            EventName = this.run,
            Identifier = this.Identifier(name),
            Payload = this.Payload(value),
        };
    }

    private V1.MeterEventCreateOptions V1Event(string name, string value)
    {
        return new V1.MeterEventCreateOptions
        {
            EventName = this.run,
            Identifier = this.Identifier(name),
            Payload = this.Payload(value),
        };
    }

    private void SendAll()
    {
        for (var sent = 0; sent < this.events.Count; sent += 100)
        {
            this.stream.Create(Batch(this.events.Skip(sent).Take(100).ToArray()));
        }
    }

    // The log keeps order: once this event is in the total, so is whatever was wrongly counted before it.
    private void StreamOne(string name)
    {
        this.stream.Create(Batch(this.Event(name, "1")));
        this.expected += 1;
    }

    private void TotalBecomesExpected()
    {
        var waited = Stopwatch.StartNew();
        for (var total = this.ReadTotal(); total != this.expected; total = this.ReadTotal())
        {
            Check($"the total is {total}, not {this.expected}", waited.Elapsed < VisibleWithin);
            Thread.Sleep(100);
        }
    }

    // Summaries take whole minutes: from the one before the start to the one after the end of this program.
    private decimal ReadTotal()
    {
        var options = new V1.MeterEventSummaryListOptions
        {
            Customer = this.customer,
            StartTime = WholeMinute(this.started).AddMinutes(-1),
            EndTime = WholeMinute(DateTime.UtcNow).AddMinutes(2),
        };
        return this.client.V1.Billing.Meters.EventSummaries.List(this.meter, options)
            .Sum(summary => summary.AggregatedValue);
    }

    private static DateTime WholeMinute(DateTime time)
    {
        return new DateTime(time.Ticks - (time.Ticks % TimeSpan.TicksPerMinute), DateTimeKind.Utc);
    }
}
