/* executorch-android 1.5 */
package org.pytorch.executorch

import java.io.Closeable

open class Module private constructor() : Closeable {
    open fun forward(vararg inputs: EValue): Array<EValue> = TODO()

    open fun loadMethod(methodName: String): Unit = TODO()

    override fun close(): Unit = TODO()

    companion object {
        const val LOAD_MODE_FILE = 0
        const val LOAD_MODE_MMAP = 1

        @JvmStatic
        @JvmOverloads
        fun load(modelPath: String?, loadMode: Int = LOAD_MODE_FILE, numThreads: Int = 0): Module = TODO()
    }
}

class EValue private constructor() {
    fun toTensor(): Tensor = TODO()

    companion object {
        @JvmStatic
        fun from(tensor: Tensor): EValue = TODO()
    }
}

abstract class Tensor internal constructor() {
    open val dataAsFloatArray: FloatArray get() = TODO()

    companion object {
        @JvmStatic
        fun fromBlob(data: FloatArray, shape: LongArray): Tensor = TODO()
    }
}
