/**
 * TCP port names, as /etc/services lists them.
 *
 * @module
 */
import type { PortLookup } from "./values.ts";

/** Enough for a machine without /etc/services (Debian's netbase is optional). */
const wellKnown = `
ftp 21/tcp
ssh 22/tcp
telnet 23/tcp
smtp 25/tcp mail
domain 53/tcp
http 80/tcp www
pop3 110/tcp pop-3
ntp 123/tcp
imap2 143/tcp imap
ldap 389/tcp
https 443/tcp
submission 587/tcp
ldaps 636/tcp
imaps 993/tcp
pop3s 995/tcp
mysql 3306/tcp
postgresql 5432/tcp postgres
http-alt 8080/tcp webcache
`;

/**
 * The TCP names of a text in the format of services(5). Lines it does not understand are skipped,
 * and the first entry of a name counts, as in getservbyname(3).
 */
export function parsePortNames(text: string): PortLookup {
  const ports = new Map<string, number>();
  for (const line of text.split("\n")) {
    const [name, service, ...aliases] = line.replace(/#.*/s, "").trim().split(/\s+/);
    const port = Number(/^([0-9]{1,5})\/tcp$/.exec(service ?? "")?.[1]);
    if (!(port >= 1 && port <= 65535)) continue;
    for (const spelling of [name!, ...aliases]) {
      if (!ports.has(spelling)) ports.set(spelling, port);
    }
  }
  return (name) => ports.get(name);
}

/** A few names everyone knows. */
export const lookUpWellKnownPort: PortLookup = parsePortNames(wellKnown);
