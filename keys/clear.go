// SPDX-License-Identifier: EUPL-1.2

package keys

// Clear makes and reads files in clear, where there is no sealing key.
var Clear *Safe
