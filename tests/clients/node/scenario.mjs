// The scenario of tests/clients with the official Node client. `node` and `node_previous` differ only in how the client
// is pointed at the server: `connect` makes one for a credential, `streamOptions` are the options of a stream call.

import {setTimeout as pause} from 'node:timers/promises';

const {STREAMGAUGE_KEY: KEY, STREAMGAUGE_EXPIRED_TOKEN: EXPIRED_TOKEN, STREAMGAUGE_RUN: RUN} = process.env;
const EVENT_NAME = `${RUN}_units`;

const VALUES = ['1', '2', '0.5']; // in turn; all of them are exact as binary fractions, as is every sum of them
const EVENTS = 250;
const BATCH_EVENTS_MAX = 100;
const SESSION_LIFETIME_MS = 15 * 60 * 1000;
const POLL_MS_MAX = 20_000;

/** Plays every step and prints its outcome; the exit status is 1 when one failed. */
export async function play({version, connect, streamOptions, errors}) {
  report({client: 'stripe-node', version});
  const state = {
    client: connect(KEY),
    connect,
    errors,
    send: (client, events) => client.v2.billing.meterEventStream.create({events}, ...streamOptions),
    startS: minuteOfNow() - 3600,
    expected: 0, // what the customer's total must be, kept from step to step
    events: [],
  };
  for (const [step, run] of Object.entries(STEPS)) {
    try {
      await run(state);
      report({step, outcome: 'passed'});
    } catch (error) {
      report({step, outcome: 'failed', detail: `${error.constructor.name}: ${error.message}`});
      console.error(error);
      process.exitCode = 1;
      // Read anew, so that one fault fails one step. There may be no meter yet.
      state.expected = await totalOf(state).catch(() => 0);
    }
  }
}

const STEPS = {
  async meter_life(state) {
    const {meters} = state.client.billing;
    const made = await meters.create({
      display_name: 'Units',
      event_name: EVENT_NAME,
      default_aggregation: {formula: 'sum'},
    });
    state.meter = made.id;
    same([made.object, made.status], ['billing.meter', 'active']);
    same((await meters.retrieve(made.id)).event_name, EVENT_NAME);
    same((await meters.update(made.id, {display_name: 'Renamed'})).display_name, 'Renamed');
    same((await meters.retrieve(made.id)).display_name, 'Renamed');
    const listed = [];
    for await (const each of meters.list({limit: 100})) listed.push(each.id);
    check(listed.includes(made.id), 'not in the list');
    const stopped = await meters.deactivate(made.id);
    same(stopped.status, 'inactive');
    check(Number.isInteger(stopped.status_transitions.deactivated_at), stopped.status_transitions);
    same((await meters.reactivate(made.id)).status, 'active');
  },

  async customer(state) {
    const made = await state.client.customers.create({name: 'Ada', metadata: {run: RUN}});
    state.customer = made.id;
    same([made.object, made.name], ['customer', 'Ada']);
  },

  async session(state) {
    const made = await state.client.v2.billing.meterEventSession.create();
    state.streaming = state.connect(made.authentication_token);
    same([made.object, made.livemode], ['v2.billing.meter_event_session', false]);
    same(Date.parse(made.expires_at) - Date.parse(made.created), SESSION_LIFETIME_MS);
    check(made.authentication_token, 'the token is empty');
  },

  async stream(state) {
    const timestamp = new Date(Date.now() - 10 * 60 * 1000);
    for (let number = 0; number < EVENTS; number++) {
      const made = event(state, `stream-${number}`, VALUES[number % 3]);
      state.events.push(number % 2 ? {...made, timestamp} : made);
    }
    await sendEvents(state);
    for (const {payload} of state.events) state.expected += Number(payload.value);
  },

  totals: waitForTotal,

  async duplicates(state) {
    await sendEvents(state);
    // The log keeps the order of what one client sends: once this one is counted, so would the repeats be.
    await state.send(state.streaming, [event(state, 'new', '2')]);
    state.expected += 2;
    await waitForTotal(state);
  },

  async synchronous(state) {
    const {client, errors} = state;
    const first = {...event(state, 'v1', '1'), timestamp: Math.floor(Date.now() / 1000)};
    const second = event(state, 'v2', '2');
    const made = await client.billing.meterEvents.create(first);
    same([made.object, made.identifier], ['billing.meter_event', `${RUN}-v1`]);
    const madeV2 = await client.v2.billing.meterEvents.create(second);
    same([madeV2.object, madeV2.identifier], ['v2.billing.meter_event', `${RUN}-v2`]);

    const again = await raised(errors.StripeInvalidRequestError, client.billing.meterEvents.create(first));
    same([again.statusCode, again.rawType], [400, 'invalid_request_error']);
    same(again.message, `An event already exists with identifier ${RUN}-v1.`);
    const againV2 = await raised(errors.StripeInvalidRequestError, client.v2.billing.meterEvents.create(second));
    same([againV2.statusCode, againV2.code], [400, 'duplicate_meter_event']);
    state.expected += 3;
    await waitForTotal(state);
  },

  async idempotency(state) {
    const {meterEvents} = state.client.billing;
    const params = event(state, 'replayed', '2');
    const options = {idempotencyKey: `${RUN}-key`};
    same(await meterEvents.create(params, options), await meterEvents.create(params, options));
    const other = event(state, 'replayed', '1');
    const error = await raised(state.errors.StripeIdempotencyError, meterEvents.create(other, options));
    same(error.rawType, 'idempotency_error');
    state.expected += 2;
    await waitForTotal(state);
  },

  async cancel(state) {
    const {client} = state;
    const cancelled = (name) => ({event_name: EVENT_NAME, type: 'cancel', cancel: {identifier: `${RUN}-${name}`}});
    const v1 = await client.billing.meterEventAdjustments.create(cancelled('v1'));
    same(v1.object, 'billing.meter_event_adjustment');
    check(['pending', 'complete'].includes(v1.status), v1);
    const v2 = await client.v2.billing.meterEventAdjustments.create(cancelled('v2'));
    same(v2.object, 'v2.billing.meter_event_adjustment');
    check(['pending', 'complete'].includes(v2.status), v2);
    state.expected -= 3;
    await waitForTotal(state);
  },

  async expired(state) {
    const late = state.send(state.connect(EXPIRED_TOKEN), [event(state, 'late', '1')]);
    await raised(state.errors.TemporarySessionExpiredError, late);
  },

  async refused(state) {
    const tooMany = Array.from({length: BATCH_EVENTS_MAX + 1}, (_, number) => event(state, `refused-${number}`, '1'));
    await raised(state.errors.StripeInvalidRequestError, state.send(state.streaming, tooMany));
    // Counted after anything of the refused call would have been.
    await state.send(state.streaming, [event(state, 'after', '2')]);
    state.expected += 2;
    await waitForTotal(state);
  },
};

function event(state, name, value) {
  return {
    event_name: EVENT_NAME,
    identifier: `${RUN}-${name}`,
    payload: {stripe_customer_id: state.customer, value},
  };
}

async function sendEvents(state) {
  for (let first = 0; first < EVENTS; first += BATCH_EVENTS_MAX) {
    await state.send(state.streaming, state.events.slice(first, first + BATCH_EVENTS_MAX));
  }
}

/** The customer's total over whole minutes, from an hour before the run until some time after now. */
async function totalOf({client, meter, customer, startS}) {
  const params = {customer, start_time: startS, end_time: minuteOfNow() + 120};
  const {data} = await client.billing.meters.listEventSummaries(meter, params);
  return data.reduce((sum, row) => sum + row.aggregated_value, 0);
}

async function waitForTotal(state) {
  const deadline = performance.now() + POLL_MS_MAX;
  let total;
  while ((total = await totalOf(state)) !== state.expected) {
    check(performance.now() < deadline, `the total is ${total}, not ${state.expected}`);
    await pause(100);
  }
}

function minuteOfNow() {
  return Math.floor(Date.now() / 60_000) * 60;
}

function check(holds, otherwise) {
  if (!holds) throw new Error(typeof otherwise === 'string' ? otherwise : JSON.stringify(otherwise));
}

function same(got, wanted) {
  check(JSON.stringify(got) === JSON.stringify(wanted), `${JSON.stringify(got)}, not ${JSON.stringify(wanted)}`);
}

/** The error of this class that the call ends with; any other error is passed on. */
async function raised(kind, call) {
  try {
    await call;
  } catch (error) {
    if (error instanceof kind) return error;
    throw error;
  }
  throw new Error(`no ${kind.name} was raised`);
}

function report(line) {
  console.log(JSON.stringify(line));
}
