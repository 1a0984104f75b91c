// Since version 22 one `host` that is not the default takes the stream as well.

import Stripe from 'stripe';

import {play} from './scenario.mjs';

const {hostname: host, port} = new URL(process.env.STREAMGAUGE_URL);

await play({
  version: Stripe.PACKAGE_VERSION,
  connect: (credential) => new Stripe(credential, {host, port, protocol: 'http'}),
  streamOptions: [],
  errors: Stripe.errors,
});
