/* compose foundation 1.8 */
package androidx.compose.foundation.interaction

interface MutableInteractionSource
