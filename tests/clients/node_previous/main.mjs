// Up to version 21 the stream has a host of its own, which only the `host` option of the call replaces.

import Stripe from 'stripe';

import {play} from './scenario.mjs';

const {hostname: host, port} = new URL(process.env.STREAMGAUGE_URL);

await play({
  version: Stripe.PACKAGE_VERSION,
  connect: (credential) => new Stripe(credential, {host, port, protocol: 'http'}),
  streamOptions: [{host}],
  errors: Stripe.errors,
});
