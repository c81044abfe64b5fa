/**
 * "Did you mean": for misspelt commands, options and config keys.
 *
 * @module
 */
import { distance } from "fastest-levenshtein";

/**
 * The candidate a misspelt word most likely meant, or undefined when none is near: two letters
 * and up to a third of the word may differ.
 */
export function nearest(word: string, candidates: readonly string[]): string | undefined {
  let best: string | undefined;
  let bestDistance = Math.max(2, Math.floor(word.length / 3)) + 1;
  for (const candidate of candidates) {
    const edits = distance(word, candidate);
    if (edits < bestDistance && edits < candidate.length) {
      best = candidate;
      bestDistance = edits;
    }
  }
  return best;
}
