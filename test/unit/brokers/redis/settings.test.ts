import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { readRedisOptions } from "../../../../src/brokers/redis/options.ts";
import { parseBrokerUrl } from "../../../../src/brokers/redis/url.ts";
import { silentLogger } from "../../../../src/kit/log.ts";

const CERTIFICATE = new URL("../../../fixtures/tls-localhost.pem", import.meta.url).pathname;
const bad = (message: RegExp) => ({ code: "ERR_INVALID_INPUT", message });

function warned(options: Record<string, unknown>): string[] {
  const warnings: string[] = [];
  readRedisOptions(options, { warn: (text: string) => void warnings.push(text) });
  return warnings;
}

describe("transport options of Redis", () => {
  test("are kombu's, with kombu's defaults", () => {
    const options = readRedisOptions({}, silentLogger);

    assert.deepEqual(options.prioritySteps, [0, 3, 6, 9]);
    assert.equal(options.visibilityTimeoutMs, 3_600_000);
    assert.equal(options.sep, "\x06\x16");
    assert.equal(options.unackedRestoreIntervalMs * options.unackedRestoreThrottle, 100_000);
  });

  test("are read in both spellings, in seconds", () => {
    const options = readRedisOptions(
      {
        visibility_timeout: 43_200,
        globalKeyprefix: "p:",
        queue_order_strategy: "priority",
        priority_steps: [6, 0],
        fanout_prefix: false,
        socket_timeout: 5,
        body_encoding: null,
        sep: null,
      },
      silentLogger,
    );

    assert.deepEqual(
      [options.visibilityTimeoutMs, options.globalKeyprefix, options.queueOrderStrategy, options.prioritySteps],
      [43_200_000, "p:", "priority", [0, 6]],
    );
    assert.deepEqual([options.fanoutPrefix, options.answerMs, options.bodyEncoding], ["", 5_000, undefined]);
    assert.equal(options.sep, "\x06\x16");
  });

  test("that nobody knows are told by name, those of kombu's that do nothing here are not", () => {
    assert.deepEqual(
      warned({ max_connections: 20, socket_keepalive: true, master_name: "m", ack_emulation: true }),
      [],
    );
    assert.match(warned({ visibility_timeuot: 5 })[0] ?? "", /visibility_timeuot.*did you mean "visibility_timeout"/);
    assert.match(warned({ ack_emulation: false })[0] ?? "", /not followed/);
  });

  test("that cannot be meant are refused, all at once", () => {
    const options = {
      visibility_timeout: 0,
      priority_steps: [3],
      queue_order_strategy: "random",
      unacked_restore_throttle: 0,
    };
    assert.throws(
      () => readRedisOptions(options, silentLogger),
      (error: { code: string; problems: string[] }) =>
        error.code === "ERR_INVALID_CONFIG" && error.problems.length === 4,
    );
  });
});

describe("the URL of a broker in Redis", () => {
  test("has TLS by its scheme or by the setting, and checks certificates unless it is told not to", () => {
    assert.equal(parseBrokerUrl("redis://h").url.tls, false);
    assert.equal(parseBrokerUrl("redis://h", { useSsl: true }).url.tls, true);
    assert.equal(parseBrokerUrl("redis://h", { useSsl: false }).url.tls, false);
    const checked = parseBrokerUrl("rediss://h/1?ssl_cert_reqs=CERT_REQUIRED");
    assert.deepEqual([checked.url.tls, checked.isUnchecked, checked.url.database], [true, false, 1]);
    for (const word of ["none", "CERT_NONE", "0"]) {
      const { tls, isUnchecked } = parseBrokerUrl(`rediss://h?ssl_cert_reqs=${word}`);
      assert.deepEqual([tls.rejectUnauthorized, isUnchecked], [false, true]);
    }
    const files = parseBrokerUrl(`rediss://h?ssl_ca_certs=${CERTIFICATE}&ssl_certfile=${CERTIFICATE}`);
    assert.match(String(files.tls.ca), /BEGIN/);
    assert.match(String(files.tls.cert), /BEGIN/);
    const table = parseBrokerUrl("rediss://h", {
      useSsl: { ssl_cert_reqs: "required", servername: "x", ssl_keyfile: CERTIFICATE },
    });
    assert.deepEqual([table.tls.servername, String(table.tls.key).includes("BEGIN")], ["x", true]);
    assert.notEqual(parseBrokerUrl("rediss://h?ssl_check_hostname=false").tls.checkServerIdentity, undefined);
  });

  test("of Sentinels is kombu's list, with the master among the options", () => {
    const { url } = parseBrokerUrl("sentinel://:se%40cret@a:1/2;sentinel://b;sentinel://c:3", {
      transport: { master_name: "my master", sentinel_kwargs: { password: "p&w", username: "u" } },
    });

    assert.equal(url.kind, "sentinel");
    assert.deepEqual(
      url.addresses.map(({ host, port }) => `${host}:${port}`),
      ["a:1", "b:26379", "c:3"],
    );
    assert.deepEqual([url.master, url.password, url.database], ["my master", "se@cret", 2]);
    assert.deepEqual([url.sentinelUsername, url.sentinelPassword], ["u", "p&w"]);
    assert.equal(url.shown.includes("cret"), false);
  });

  test("that is none is refused, and never shows its password", () => {
    const wrong: [string, RegExp][] = [
      ["sentinel://:hush@a", /master_name/],
      ["redis://:hush@a;redis://b", /is several/],
      ["redis+cluster://:hush@a", /is a Cluster/],
      ["rediss://:hush@a?ssl_cert_reqs=maybe", /"required", "optional" or "none"/],
      ["rediss://:hush@a?ssl_ca_certs=/no/such/file", /cannot be read/],
      ["rediss://:hush@a?ssl_speed=9", /unknown parameter "ssl_speed"/],
      ["redis://:hush@a?db=1", /unknown parameter "db"/],
      ["sentinel://:hush@a;http://b", /no list of Sentinels/],
    ];
    for (const [text, message] of wrong) {
      const options = text.includes("http") ? { transport: { master_name: "m" } } : {};
      assert.throws(() => parseBrokerUrl(text, options), bad(message), text);
      assert.throws(
        () => parseBrokerUrl(text, options),
        (error: Error) => !error.message.includes("hush"),
      );
    }
    assert.throws(() => parseBrokerUrl("rediss://h", { useSsl: { speed: 9 } }), bad(/brokerUseSsl has "speed"/));
  });
});
