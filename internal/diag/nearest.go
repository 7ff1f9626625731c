package diag

import "strings"

// Nearest is the known word that word is most likely a slip of, or "" if none
// is near: case and the difference between - and _ do not count, and at most a
// third of the letters may be wrong, missing, doubled or swapped with the next.
func Nearest(word string, known []string) string {
	w := fold(word)
	limit := max(1, len(w)/3)
	if len(w) <= 2 {
		limit = 0
	}
	best, bestDistance := "", limit+1
	for _, k := range known {
		f := fold(k)
		if abs(len(f)-len(w)) >= bestDistance {
			continue
		}
		if d := distance(w, f); d < bestDistance {
			best, bestDistance = k, d
		}
	}
	return best
}

func fold(s string) string {
	if len(s) > 128 {
		s = s[:128]
	}
	return strings.ReplaceAll(strings.ToLower(s), "-", "_")
}

// distance counts the single-byte insertions, deletions, replacements and swaps
// of neighbours that turn a into b.
func distance(a, b string) int {
	before, prev, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(prev[j]+1, row[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, prev, row = prev, row, before
	}
	return prev[len(b)]
}

func abs(n int) int {
	if n < 0 {
		return -n
	}
	return n
}
