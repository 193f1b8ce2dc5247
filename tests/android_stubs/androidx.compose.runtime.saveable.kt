/* compose runtime-saveable 1.8 */
package androidx.compose.runtime.saveable

import androidx.compose.runtime.Composable

interface Saver<Original, Saveable : Any>

@Composable
fun <T : Any> rememberSaveable(
    vararg inputs: Any?,
    saver: Saver<T, out Any> = TODO(),
    key: String? = null,
    init: () -> T,
): T = TODO()
