/* compose runtime 1.8 */
package androidx.compose.runtime

import kotlin.reflect.KProperty

@MustBeDocumented
@Retention(AnnotationRetention.BINARY)
@Target(
    AnnotationTarget.FUNCTION,
    AnnotationTarget.TYPE,
    AnnotationTarget.TYPE_PARAMETER,
    AnnotationTarget.PROPERTY_GETTER,
)
annotation class Composable

@Retention(AnnotationRetention.BINARY)
@Target(AnnotationTarget.TYPE)
annotation class DisallowComposableCalls

@Retention(AnnotationRetention.SOURCE)
@Target(AnnotationTarget.FUNCTION, AnnotationTarget.PROPERTY_GETTER)
annotation class ReadOnlyComposable

abstract class CompositionContext

sealed class CompositionLocal<T> {
    val current: T
        @ReadOnlyComposable @Composable get() = TODO()
}

abstract class ProvidableCompositionLocal<T> : CompositionLocal<T>()

interface DisposableEffectResult {
    fun dispose()
}

class DisposableEffectScope {
    inline fun onDispose(crossinline onDisposeEffect: () -> Unit): DisposableEffectResult = TODO()
}

interface State<out T> {
    val value: T
}

interface MutableState<T> : State<T> {
    override var value: T
}

interface IntState : State<Int> {
    val intValue: Int
}

interface MutableIntState : IntState, MutableState<Int> {
    override var intValue: Int
}

interface SnapshotMutationPolicy<T>

fun <T> mutableStateOf(value: T, policy: SnapshotMutationPolicy<T> = TODO()): MutableState<T> = TODO()

fun mutableIntStateOf(value: Int): MutableIntState = TODO()

operator fun <T> State<T>.getValue(thisObj: Any?, property: KProperty<*>): T = TODO()

operator fun <T> MutableState<T>.setValue(thisObj: Any?, property: KProperty<*>, value: T): Unit = TODO()

operator fun IntState.getValue(thisObj: Any?, property: KProperty<*>): Int = TODO()

operator fun MutableIntState.setValue(thisObj: Any?, property: KProperty<*>, value: Int): Unit = TODO()

@Composable
inline fun <T> remember(crossinline calculation: @DisallowComposableCalls () -> T): T = TODO()

@Composable
fun DisposableEffect(key1: Any?, effect: DisposableEffectScope.() -> DisposableEffectResult): Unit = TODO()

@Composable
fun SideEffect(effect: () -> Unit): Unit = TODO()
