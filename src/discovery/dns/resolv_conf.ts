/**
 * The resolvers of this machine, as resolv.conf(5) names them.
 *
 * @module
 */
import { type Ip, parseIp } from "../../model/address.ts";
import { defaultDnsPort, type Nameserver, parseNameserver } from "../../model/nameserver.ts";

/** Whom to ask, and how patiently. */
export interface ResolverSettings {
  /** In the order they are tried; at least one. */
  readonly servers: readonly Nameserver[];
  /** Milliseconds an answer may take; at least 1000. */
  readonly timeout: number;
  /** How often each server is tried before a question counts as unanswered. */
  readonly attempts: number;
}

/**
 * Shorter than the 5 s of the C library, which has one caller waiting: here a late answer is in the
 * resolver's cache when it is asked again.
 */
const defaultTimeout = 2000;
const defaultAttempts = 2;

/** The C library looks at three servers; more than this is a mistake. */
const maxServers = 8;

/** What is asked when no server is named (resolv.conf(5)). */
const localServer: Nameserver = {
  address: parseIp("127.0.0.1") as Ip,
  port: defaultDnsPort,
  zone: "",
};

/** The settings for servers that are configured, or for none. */
export function resolverSettings(servers: readonly Nameserver[]): ResolverSettings {
  return {
    servers: servers.length > 0 ? servers : [localServer],
    timeout: defaultTimeout,
    attempts: defaultAttempts,
  };
}

/**
 * Reads the `nameserver` lines and, of `options`, `timeout` and `attempts`, within the limits of the
 * C library (30 s, 5). Search lists do not matter: every name asked for is complete. What is not
 * understood is passed over, as the C library does.
 */
export function parseResolvConf(text: string): ResolverSettings {
  const servers: Nameserver[] = [];
  let { timeout, attempts } = resolverSettings([]);
  for (const line of text.split("\n")) {
    const [keyword, ...words] = line.trim().split(/[ \t]+/);
    if (keyword === "nameserver") {
      // A port is not for resolv.conf; one that somebody writes nevertheless is meant.
      const server = parseNameserver(words[0] ?? "");
      if (server && servers.length < maxServers) servers.push(server);
    } else if (keyword === "options") {
      for (const word of words) {
        const [, name, digits] = /^(timeout|attempts):([0-9]{1,4})$/.exec(word) ?? [];
        const value = Number(digits);
        if (name === "timeout") timeout = Math.min(Math.max(value, 1), 30) * 1000;
        if (name === "attempts") attempts = Math.min(Math.max(value, 1), 5);
      }
    }
  }
  return { ...resolverSettings(servers), timeout, attempts };
}
