/**
 * What tests use. The only importer of the assertion and property libraries, so that others
 * (`@std/assert`, `@std/testing`) can take their place by changing this file.
 *
 * @module
 */
import assert from "node:assert/strict";
import * as fc from "fast-check";

export { assert, fc };
